"""`treeroll bench claims`: what papers say of their algorithms, and what the demo model shows of it here."""

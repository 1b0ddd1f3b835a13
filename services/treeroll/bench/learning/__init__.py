"""`treeroll bench learning`: what samples are worth to a policy gradient, and what a model learns from them."""

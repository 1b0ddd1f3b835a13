"""Between the core and policies: what one raises, or says that cannot be, costs what it was asked about, no more."""

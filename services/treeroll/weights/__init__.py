"""Directories of weights: written whole by a trainer, checked whole by a replica before it reads one of them."""

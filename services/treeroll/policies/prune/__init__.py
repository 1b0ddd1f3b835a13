"""Prune policies: which paths end early."""

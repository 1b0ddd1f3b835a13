"""Placement: which replica gets a branch."""

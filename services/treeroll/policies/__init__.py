"""Algorithms as small pure files: what to branch, where to cut, when to stop, what to credit, where to place."""

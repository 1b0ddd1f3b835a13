"""Counts forks, because what holds threads, connections or locks is of no use in a forked child."""

import os

_generation = 0


def generation() -> int:
    """Forks between the import of treeroll and this process: what another generation made is not to be used here."""
    return _generation


def _in_child() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_in_child)

"""Versions of treeroll: which of them work together."""


def work_together(version: str, other: str) -> bool:
    """Whether processes of these versions may be parts of one service: those of one minor version may."""
    return _minor(version) == _minor(other)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]

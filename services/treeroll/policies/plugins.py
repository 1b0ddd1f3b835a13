"""Policies of other distributions, found by Python entry point. The one place where policies meet the outside.

A distribution declares each as `KIND.NAME = module:Class` in the entry point group `treeroll.policies`, KIND being one
of segment, branch, prune, advantage, placement, allocate and route, NAME the class's own `name`. Nothing is imported
before it is asked for by name or listed. Every refusal is InvalidInput and names the distribution.
"""

from collections.abc import Collection
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from pydantic import BaseModel

from treeroll.errors import InvalidInput, TreerollError
from treeroll.policy.base import Limits
from treeroll.policy.shape import DECIDES, class_flaws, object_flaws

GROUP: Final = "treeroll.policies"


@cache
def declared() -> tuple[EntryPoint, ...]:
    """All entry points of the group, read once per process, sorted by name and distribution."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda point: (point.name, distribution(point))))


def names(kind: str) -> list[str]:
    """Names declared for a kind."""
    parts = (point.name.partition(".") for point in declared())
    return [name for of, _, name in parts if of == kind and name]


def check_names() -> None:
    """Refuse entry points whose names say no kind, or no name."""
    for point in declared():
        kind, _, name = point.name.partition(".")
        if kind not in DECIDES or not name:
            raise InvalidInput(
                f"distribution '{distribution(point)}' declares '{point.name}' in entry point group {GROUP}; "
                f"it must be KIND.NAME, where KIND is one of {', '.join(DECIDES)}"
            )


def find(kind: str, name: str, ours: Collection[str]) -> Any:
    """The class declared under a kind and name, or None. `ours` are names that are taken."""
    points = [point for point in declared() if point.name == f"{kind}.{name}"]
    if not points:
        return None
    where = _where(kind, name)
    if name in ours:
        raise InvalidInput(f"{where} has the name of one of treeroll's own; it must take another, or be uninstalled")
    if len(points) > 1:
        others = " and ".join(f"'{distribution(point)}'" for point in points[1:])
        raise InvalidInput(f"{where} has the same name as that of {others}; uninstall all but one")
    return _load(points[0], where, name)


def build(kind: str, policy: Any, params: BaseModel, limits: Limits) -> Any:
    """A policy object of a class that is not ours."""
    where = _where(kind, policy.name)
    try:
        built = policy(params, limits)
    except TreerollError:
        raise
    except Exception as error:  # whatever somebody else's constructor raises
        raise InvalidInput(f"{where} cannot be built: {type(error).__name__}: {error}") from error
    for flaw in object_flaws(kind, built):
        raise InvalidInput(f"{where} {flaw}")
    return built


def distribution(point: EntryPoint) -> str:
    """Name of the distribution that declares an entry point."""
    return point.dist.name if point.dist else "?"


def version(kind: str, name: str) -> str:
    """Version of the distribution that declares a policy; "" for one of ours."""
    points = (point for point in declared() if point.name == f"{kind}.{name}")
    return next((point.dist.version for point in points if point.dist), "")


def _where(kind: str, name: str) -> str:
    owner = next(distribution(point) for point in declared() if point.name == f"{kind}.{name}")
    return f"{kind} policy '{name}' of distribution '{owner}'"


def _load(point: EntryPoint, where: str, name: str) -> Any:
    try:
        policy = point.load()
    except Exception as error:  # importing runs anything
        raise InvalidInput(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    for flaw in class_flaws(policy):
        raise InvalidInput(f"{where} {flaw}")
    if policy.name != name:
        raise InvalidInput(f"{where} calls itself '{policy.name}'; entry point and class must agree")
    return policy

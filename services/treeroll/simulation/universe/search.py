"""Looking for worlds in which a promise is broken, and for the smallest of them."""

import hashlib
import random
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from treeroll.simulation.universe.faults import Faults, drawn
from treeroll.simulation.universe.oracles import Broken
from treeroll.simulation.universe.universe import Universe

# What grows: recipe, settings of its branch policy, and numbers of leaves that these can make. All of these trees
# depend on seed and tokens alone.
RECIPES: tuple[tuple[str, dict[str, object], tuple[int, ...]], ...] = (
    ("treepo", {}, (2, 4, 6)),
    ("treepo", {"sync": "path", "branching": 1}, (2, 4)),
    ("flat", {}, (2, 4)),
    ("spo", {"fanouts": [2, 2]}, (4,)),
    ("deepsearch", {"width": 2, "terminals": 3}, (6,)),
    ("bavt", {"value": "judge"}, (2, 4)),
    ("uct", {"value": "success", "width": 1}, (4,)),
    ("echo", {"answers": 2, "max_width": 3, "min_depth": 1, "entropy": 0.5, "confidence": 1.0}, (6,)),
    ("treerl", {"chains": 2, "places": 1}, (8,)),
)


@dataclass(frozen=True)
class Case:
    """A world to be simulated."""

    seed: int
    faults: Faults
    recipe: str = "treepo"
    branch: tuple[tuple[str, object], ...] = ()
    tasks: int = 3
    leaves: int = 4
    max_depth: int = 3
    replicas: int = 2

    def universe(self, kind: type[Universe] = Universe) -> Universe:
        """The world, before anything has happened in it."""
        overrides: dict[str, dict[str, object]] = {"branch": dict(self.branch)} if self.branch else {}
        return kind(
            seed=self.seed, faults=self.faults, recipe=self.recipe, overrides=overrides, tasks=self.tasks,
            leaves=self.leaves, max_depth=self.max_depth, replicas=self.replicas, slots=3, end_share=0.02,
        )  # fmt: skip

    @property
    def told(self) -> str:
        """What it is, for people."""
        kinds = ", ".join(self.faults.kinds) or "none"
        return (
            f"{self.recipe} {dict(self.branch) or ''}, {self.tasks} tasks, {self.leaves} leaves, depth "
            f"{self.max_depth}, {self.replicas} replicas; faults: {kinds}"
        )


def case_of(seed: int) -> Case:
    """What a seed stands for."""
    chance = random.Random(f"case-{seed}")  # noqa: S311 - a simulation
    recipe, branch, leaves = chance.choice(RECIPES)
    return Case(
        seed, drawn(chance), recipe, tuple(branch.items()), tasks=chance.choice((1, 2, 3, 5)),
        leaves=chance.choice(leaves), max_depth=chance.choice((2, 3, 4)),
        replicas=chance.choice((1, 2, 3)),
    )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a world."""

    case: Case
    broken: tuple[Broken, ...]
    steps: int
    points: int
    lives: int
    trace: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Equal worlds have equal ones."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


def simulate(case: Case, kind: type[Universe] = Universe) -> Outcome:
    """The world from its beginning to its end."""
    world = case.universe(kind)
    try:
        broken = world.simulate()
    except Exception as error:
        world.trace += traceback.format_exc().splitlines()
        broken = [Broken("NoException", f"{type(error).__name__}: {error}")]
    return Outcome(case, tuple(broken), world.steps, world.points, world.lives, tuple(world.trace))


def shrink(failing: Outcome, kind: type[Universe] = Universe) -> Iterator[Outcome]:
    """Ever smaller worlds in which the same promise is broken: with fewer kinds of faults, then with less work."""
    promise = failing.broken[0].promise
    improved = True
    while improved:
        improved = False
        for case in _smaller(failing.case):
            tried = simulate(case, kind)
            if tried.broken and tried.broken[0].promise == promise:
                failing, improved = tried, True
                yield failing
                break


def _smaller(case: Case) -> Iterator[Case]:
    for name in case.faults.kinds:
        yield replace(case, faults=case.faults.without(name))
    changes: list[dict[str, Any]] = []
    if case.tasks > 1:
        changes.append({"tasks": case.tasks - 1})
    if case.replicas > 1:
        changes.append({"replicas": case.replicas - 1})
    if case.max_depth > 2:
        changes.append({"max_depth": case.max_depth - 1})
    if case.leaves > 2 and not case.branch:
        changes.append({"leaves": case.leaves - 2})
    if case.branch or case.recipe != "treepo":
        changes.append({"recipe": "treepo", "branch": ()})
    yield from (replace(case, **change) for change in changes)

"""Looking for worlds in which a promise is broken, and for the smallest of them."""

import hashlib
import random
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import ConfigDict

from treeroll.simulation.universe import faults, work
from treeroll.simulation.universe.faults import Faults
from treeroll.simulation.universe.oracles import Broken
from treeroll.simulation.universe.universe import Universe
from treeroll.simulation.universe.work import CLIENTS, OF_BOTH, Work


@dataclass(frozen=True)
class Case:
    """A world to be simulated."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    seed: int
    faults: Faults
    work: Work = field(default_factory=Work)
    replicas: int = 2

    def universe(self, kind: type[Universe] = Universe) -> Universe:
        """The world, before anything has happened in it."""
        work = self.work
        return kind(
            seed=self.seed, faults=self.faults, work=work, recipe=work.recipe,
            overrides=dict(work.overrides), pools=work.pools or None, tasks=work.tasks, epochs=work.epochs,
            leaves=work.leaves, max_depth=work.max_depth, replicas=self.replicas, slots=3, end_share=0.02,
        )  # fmt: skip

    @property
    def told(self) -> str:
        """What it is, for people."""
        kinds = ", ".join(self.faults.kinds) or "none"
        return f"{self.work.told}, {self.replicas} replicas; faults: {kinds}"


def case_of(seed: int) -> Case:
    """What a seed stands for."""
    chance = random.Random(f"case-{seed}")  # noqa: S311 - a simulation
    disturbed, wanted = faults.drawn(chance), work.drawn(chance)
    if wanted.settings.get("budget", {}).keys() & {"leaves", "expansions"}:
        # What a damaged tree had used up stays used up, and an audit finds it in no tree.
        disturbed = disturbed.without("damage")
    later = random.Random(f"other models-{seed}")  # noqa: S311 - of its own: seeds stand for the worlds that they were
    disturbed = replace(disturbed, other_models=later.random() < 0.15)
    return Case(seed, disturbed, wanted, replicas=chance.choice((1, 2, 3)))


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
    return Outcome(
        case, tuple(broken), world.steps, world.succession.points, world.succession.lives, tuple(world.trace)
    )


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
    work = case.work
    if work.pools:
        yield replace(case, work=_of_one_model(work))
    changes: list[dict[str, Any]] = [
        {"settings": {key: value for key, value in work.settings.items() if key != dropped}}
        for dropped in work.settings
        if dropped not in ("order", "window")  # these go together, and with `ahead`
        and dropped not in ("model", "route")  # which several models need
        and not (dropped == "max_staleness" and "when_stale" in work.settings)
    ]
    if "order" in work.settings:
        changes = [{"settings": {key: work.settings[key] for key in work.settings.keys() - {"order", "window"}}}]
    changes += [{name: getattr(Work(), name)} for name in CLIENTS if getattr(work, name) != getattr(Work(), name)]
    if work.epochs > 1:
        changes.append({"epochs": 1})
    if work.tasks > 1:
        changes.append({"tasks": work.tasks - 1})
    if work.max_depth > 2:
        changes.append({"max_depth": work.max_depth - 1})
    if work.leaves > 2 and not work.overrides:
        changes.append({"leaves": work.leaves - 2})
    if work.overrides or work.recipe != "treepo":
        changes.append({"recipe": "treepo", "overrides": {}})
    if case.replicas > 1:
        yield replace(case, replicas=case.replicas - 1)
    yield from (replace(case, work=replace(work, **change)) for change in changes)


def _of_one_model(work: Work) -> Work:
    settings = {key: value for key, value in work.settings.items() if key not in ("model", "route")}
    shape = {"recipe": "treepo", "overrides": {}} if work.recipe in {recipe for recipe, *_ in OF_BOTH} else {}
    return replace(work, pools={}, settings=settings, **shape)  # type: ignore[arg-type]

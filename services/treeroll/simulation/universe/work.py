"""What a world's run is to grow, and under which settings: drawn from its seed."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import ConfigDict

# What grows: recipe, overrides of its policies, and numbers of leaves that these can make.
Recipe = tuple[str, Mapping[str, Any], tuple[int, ...]]
RECIPES: tuple[Recipe, ...] = (
    ("treepo", {}, (2, 4, 6)),
    ("treepo", {"branch": {"sync": "path", "branching": 1}}, (2, 4)),
    ("treepo", {"branch": {"fallback": "none", "initial": "random"}}, (2, 4)),
    ("treepo", {"segment": {"hold": True}}, (4,)),
    ("treepo", {"segment": {"name": "delimiter", "texts": ["> "]}}, (4,)),
    ("treepo", {"segment": {"name": "delimiter", "texts": [], "token_ids": [3, 4, 5], "hold": True}}, (4,)),
    ("flat", {}, (2, 4)),
    ("flat", {"segment": {"name": "agent_step"}}, (2, 4)),
    ("spo", {"branch": {"fanouts": [2, 2]}}, (4,)),
    ("deepsearch", {"branch": {"width": 2, "terminals": 3}}, (6,)),
    ("bavt", {"branch": {"value": "judge"}}, (2, 4)),
    ("bavt", {"branch": {"tokens": 50, "parallel": 1}}, (4,)),
    ("uct", {"branch": {"value": "success", "width": 1}}, (4,)),
    ("rebase", {"branch": {"value": "success"}}, (4,)),
    ("hbpo", {"branch": {"budgets": [10, 20, 30]}}, (6,)),
    ("arpo", {"branch": {"initial": 1}}, (4,)),
    ("pets", {"branch": {"initial": 2, "answer": "text", "batch": 3}}, (6,)),
    ("echo", {"branch": {"answers": 2, "max_width": 3, "min_depth": 1, "entropy": 0.5, "confidence": 1.0}}, (6,)),
    ("treerl", {"branch": {"chains": 2, "places": 1}}, (8,)),
    ("rest_mcts", {"branch": {"width": 2, "iterations": 3, "value": "success", "successes": 9}}, (4,)),
)
# These wait for late paths only so long, or not for all: what comes in time depends on time.
IMPATIENT: tuple[Recipe, ...] = (
    ("rebase", {"branch": {"value": "judge", "quorum": 0.5}}, (4,)),
    ("rebase", {"branch": {"value": "judge", "timeout_s": 0.5}}, (4,)),
    ("dora", {"branch": {"embedder": None, "timeout_s": 2.0}}, (4,)),
)
# Trees of two models, `small` and `large`.
OF_BOTH: tuple[Recipe, ...] = (
    ("flat", {"segment": {"hold": True}, "branch": {"name": "cascade", "surprisal": 0.3}}, (2,)),
    ("mars2", {"branch": {"models": ["small", "large"]}}, (4,)),
)
# Leaves of these follow `leaves`, so that they can be shared out.
SHAREABLE = ("treepo", "flat")
# What clients do beside submitting and training, how long the service keeps what they leave, and how scorers are.
CLIENTS = (
    "versions",
    "reports",
    "ranks",
    "cancelled_at",
    "drained_at",
    "sought_at",
    "keep_acknowledged_s",
    "keep_finished_s",
    "fickle",
    "abstains",
)


@dataclass(frozen=True)
class Work:
    """A run and its tasks. `settings` are those of its configuration beside recipe, shape and seed."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    recipe: str = "treepo"
    leaves: int = 4
    max_depth: int = 3
    tasks: int = 3
    epochs: int = 1
    overrides: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: int = 0
    """Of weights, which are published while it grows."""
    reports: bool = False
    """Rewards are reported for trees that were delivered."""
    cancelled_at: float | None = None
    drained_at: float | None = None
    ranks: bool = False
    """Two ranks share global batches, beside the trainers."""
    sought_at: float | None = None
    """When a trainer saves where its group stands, to which it goes back later."""
    keep_acknowledged_s: float | None = None
    keep_finished_s: float | None = None
    fickle: bool = False
    """Scorers and judges say one of two values, not the same each time that they are asked of a path."""
    abstains: bool = False
    """Scorers and judges that cannot tell say so, and do not fail."""
    pools: Mapping[str, int] = field(default_factory=dict)
    """How many replicas each model has, where there are several."""

    @property
    def exact(self) -> bool:
        """Whether its trees depend on seed and tokens alone."""
        branch, settings = self.overrides.get("branch", {}), self.settings
        timed = "quorum" in branch or "timeout_s" in branch
        cut = settings.get("budget", {}).keys() - {"tokens_per_second", "burst_tokens"}
        withheld = "max_staleness" in settings and settings.get("when_stale", "withhold") == "withhold"
        old = settings.get("on_update") == "stop" or withheld  # such trees are ended
        stops = (old and self.versions > 0) or self.cancelled_at is not None
        return not (timed or cut or stops or self.fickle or settings.keys() & {"allocate", "route"})

    @property
    def told(self) -> str:
        """What it is, for people."""
        shape = f"{self.tasks} tasks, {self.epochs} epochs, {self.leaves} leaves, depth {self.max_depth}"
        more = {name: kept for name in CLIENTS if (kept := getattr(self, name)) not in (None, 0, False)}
        told = f"{self.recipe} {dict(self.overrides) or ''}, {shape}, {dict(self.settings) | more or 'as usual'}"
        return told + (f", replicas {dict(self.pools)}" if self.pools else "")


def drawn(chance: random.Random) -> Work:
    """Some run."""
    recipe, overrides, leaves = chance.choice(IMPATIENT if chance.random() < 0.1 else RECIPES)
    shape = Work(
        recipe, chance.choice(leaves), chance.choice((2, 3, 4)), chance.choice((1, 2, 3, 5)),
        2 if chance.random() < 0.15 else 1, overrides,
    )  # fmt: skip
    settings: dict[str, Any] = {}
    for draw, share in _DRAWS:
        if chance.random() < share:
            settings |= draw(chance, shape)
    versions = chance.choice((1, 2, 3)) if chance.random() < 0.2 else 0
    if versions:
        settings |= _weights(chance)
    work = replace(
        shape,
        settings=settings,
        versions=versions,
        reports=chance.random() < 0.2,
        cancelled_at=chance.uniform(1.0, 25.0) if chance.random() < 0.08 else None,
        keep_acknowledged_s=2.0 if chance.random() < 0.1 else None,
        keep_finished_s=15.0 if chance.random() < 0.1 else None,
        drained_at=chance.uniform(0.0, 20.0) if chance.random() < 0.15 else None,
        sought_at=chance.uniform(0.0, 20.0) if chance.random() < 0.15 else None,
    )
    kept = work.keep_acknowledged_s is None and work.keep_finished_s is None  # a group that begins late needs all trees
    work = replace(
        work,
        ranks=kept and chance.random() < 0.15,
        fickle=chance.random() < 0.1,
        abstains=chance.random() < 0.15,
    )
    return _pooled(chance, work) if chance.random() < 0.15 else work


def _pooled(chance: random.Random, work: Work) -> Work:
    """The same with two models: one of them grows all trees, or a route says which; or both grow each."""
    kind = chance.choice(("model", "route", "both"))
    work = replace(work, pools={"small": chance.choice((1, 2)), "large": 1})
    settings = dict(work.settings)
    if kind == "model":
        return replace(work, settings=settings | {"model": chance.choice(("small", "large"))})
    if kind == "route":
        settings = {key: value for key, value in settings.items() if key not in ("order", "window")}  # it refuses these
        threshold: dict[str, Any] = {"name": "threshold", "below": chance.choice((0.4, 0.8)), "prior": 1.0}
        if chance.random() < 0.3:
            threshold["large_tokens"] = chance.randint(1, 12) * 32 * work.max_depth
        return replace(work, epochs=2, settings=settings | {"route": threshold})
    settings.pop("allocate", None)
    recipe, overrides, leaves = chance.choice(OF_BOTH)
    settings["model"] = "small"
    return replace(work, recipe=recipe, overrides=overrides, leaves=leaves[0], settings=settings)


def _weights(chance: random.Random) -> dict[str, Any]:
    bound = {"max_staleness": chance.choice((0, 1)), "when_stale": chance.choice(("withhold", "mark"))}
    rule = {"on_update": chance.choice(("continue", "recompute", "stop", "finish_first"))}
    return rule | (bound if chance.random() < 0.5 else {})


def _budget(chance: random.Random, shape: Work) -> dict[str, Any]:
    """Scarce, mostly: a tree takes some hundred tokens."""
    longest = 32 * shape.max_depth
    caps: list[dict[str, object]] = [
        {"tokens": chance.randint(1, 8) * longest},
        {"task_tokens": chance.randint(1, 6) * longest},
        {"tree_tokens": chance.randint(1, 6) * longest},
        {"leaves": chance.randint(1, 12)},
        {"expansions": chance.randint(1, 8)},
        {"seconds": chance.uniform(3.0, 60.0)},
        {"tokens_per_second": 100, "burst_tokens": 2 * longest},
        {"tokens": chance.randint(2, 12) * longest, "task_tokens": chance.randint(2, 6) * longest},
    ]
    return {"budget": chance.choice(caps)}


def _pace(chance: random.Random, shape: Work) -> dict[str, Any]:
    window = {"order": "window", "window": chance.choice((1, 2, 3))} if chance.random() < 0.5 else {}
    return {"ahead": chance.choice((1, 2, 3)), **window}


def _filters(chance: random.Random, shape: Work) -> dict[str, Any]:
    settings: list[dict[str, Any]] = [{"drop": ["zero_advantage"]}, {"drop": ["truncated"]}, {"min_scored": 2}]
    return chance.choice(settings)


def _shares(chance: random.Random, shape: Work) -> dict[str, Any]:
    if shape.recipe not in SHAREABLE:
        return {}
    return {"allocate": {"name": chance.choice(("uniform", "mixed", "neyman", "knapsack"))}}


_DRAWS: tuple[tuple[Callable[[random.Random, Work], dict[str, Any]], float], ...] = (
    (_budget, 0.2),
    (_pace, 0.2),
    (_filters, 0.15),
    (_shares, 0.15),
)

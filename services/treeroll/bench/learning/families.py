"""The two families of tasks, and the arms that are compared on them: all with the same length limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from treeroll import demo, subset_sum
from treeroll.errors import InvalidInput
from treeroll.tasks import Task, read_tasks
from treeroll.tree.rng import shuffled

LEAVES: Final = 16
# Paths end where the model ends them, in every arm.
ENDS_ONLY: Final = {"boxed": "off", "repetition": "off"}
BASELINE: Final = "flat"

Weighting = Literal["equal", "path"]
"""Samples of a tree weigh the same, or as `path_weight` says. Every task weighs the same in either."""


@dataclass(frozen=True)
class Credit:
    """An estimator by name, and how the samples of a tree are weighed.

    `unbiased`: theory says that what it delivers is the gradient on average, its scale included.
    """

    estimator: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    weighting: Weighting = "equal"
    unbiased: bool = False

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.estimator if self.weighting == "equal" else f"{self.estimator}, path weights"


@dataclass(frozen=True)
class Arm:
    """A way to grow trees, and the credits they are given. An `allocator` knows one epoch, which is not counted."""

    name: str
    recipe: str
    credits: tuple[Credit, ...]
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    allocator: str | None = None


@dataclass(frozen=True)
class Family:
    """A model, its tasks, and the shapes of trees that fit its texts."""

    name: str
    model: Path
    tasks: Path
    scorer: str
    max_tokens: int
    usual: int
    """Tokens of a usual completion: forks are placed by it."""
    segment: int
    """Of the arms that fork at every segment."""

    def split(self) -> tuple[list[Task], list[Task]]:
        """The tasks for gradients and training, and as many held out: each difficulty in halves, by chance."""
        by_difficulty: dict[Any, list[Task]] = {}
        for task in shuffled(list(read_tasks(self.tasks)), 0):
            by_difficulty.setdefault(task.extra.get("difficulty"), []).append(task)
        train: list[Task] = []
        held_out: list[Task] = []
        for _, tasks in sorted(by_difficulty.items()):
            train += tasks[: len(tasks) // 2]
            held_out += tasks[len(tasks) // 2 :]
        return train, held_out

    def some(self, tasks: Sequence[Task], count: int) -> list[Task]:
        """So many tasks, as evenly of all difficulties as it goes; those that nobody solves are left to the caller."""
        by_difficulty: dict[Any, list[Task]] = {}
        for task in tasks:
            by_difficulty.setdefault(task.extra.get("difficulty"), []).append(task)
        rounds = [
            task for place in range(len(tasks)) for group in by_difficulty.values() for task in group[place : place + 1]
        ]
        return rounds[:count]

    def shared(self) -> dict[str, Any]:
        """Settings that all arms have."""
        return {"leaves": LEAVES, "max_tokens": self.max_tokens, "scorer": self.scorer, "prune": ENDS_ONLY}

    def arms(self) -> dict[str, Arm]:
        """All there are, the baseline first."""
        whole = {"segment_tokens": self.max_tokens, "max_depth": 1}
        steps = {"segment_tokens": self.segment, "max_depth": -(-self.max_tokens // self.segment)}
        late = {"segment_tokens": round(0.75 * self.usual), "max_depth": 2}
        thirds = {"segment": {"tokens": [round(self.usual / 3)] * 2}, "max_depth": 3}
        rloo, grpo = Credit("rloo"), Credit("grpo")
        independent = Credit("rloo", unbiased=True)  # of samples that share nothing
        ancestors = Credit("ancestors", weighting="path", unbiased=True)
        arms = (
            Arm(BASELINE, "flat", (independent, grpo), whole),
            Arm("8 x 2 at 3/4", "late_fork", (ancestors, rloo), late | {"branch": {"fanouts": [8, 2]}}),
            Arm("4 x 4 at 3/4", "late_fork", (ancestors, rloo, Credit("spo")), late | {"branch": {"fanouts": [4, 4]}}),
            Arm("spo 4, 2, 2", "spo", (ancestors, rloo, Credit("spo")), thirds | {"branch": {"fanouts": [4, 2, 2]}}),
            Arm("treepo", "treepo", (rloo, Credit("treepo")), steps),
            Arm(
                "treerl, 4 chains", "treerl", (rloo, Credit("treerl")),
                whole | {"branch": {"chains": 4, "places": 3, "rounds": 1, "forks": 1}},
            ),
            Arm("flat + neyman", "flat", (independent,), whole, "neyman"),
            Arm("flat + mixed", "flat", (independent,), whole, "mixed"),
        )  # fmt: skip
        return {arm.name: arm for arm in arms}


FAMILIES: Final[Mapping[str, Family]] = {
    family.name: family
    for family in (
        Family("subset_sum", subset_sum.MODEL_DIR, subset_sum.TASKS_FILE, "subset", 320, 220, 32),
        Family("demo", demo.ERRING_MODEL_DIR, demo.TASKS_FILE, "arith", 256, 130, 16),
    )
}


def chosen(family: Family, names: str | None) -> list[Arm]:
    """The arms of these names, all without any; the baseline is always among them. InvalidInput for an unknown one."""
    arms = family.arms()
    if names is None:
        return list(arms.values())
    wanted = [name.strip() for name in names.split(";")]
    for name in wanted:
        if name not in arms:
            raise InvalidInput(f"there is no arm '{name}'; there are {'; '.join(arms)}")
    return [arm for arm in arms.values() if arm.name in wanted or arm.name == BASELINE]

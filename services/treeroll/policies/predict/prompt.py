"""The success rate of a task from the words of its prompt, learned while the run goes on."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar, Final
from zlib import crc32

from treeroll.policy.allocate import TaskView
from treeroll.policy.memory import Parts

PLACES: Final = 1 << 14
# A prompt ends with its question, and reading all of a long one would cost more than it tells.
CHARS: Final = 2000
STEP: Final = 0.5
# Squared gradients that each weight begins with: no single task moves any weight by much more than half of STEP.
DAMPING: Final = 1.0
# Trees without which nothing is said: a rate that a handful of tasks have is that of the run at best.
FIRST: Final = 8
# Names of the parts that outlast the service: how many trees, and each place.
SEEN: Final = "prompt.seen"
PART: Final = "prompt.at."

_PARTS: Final = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")


class Prompt:
    """Logistic regression on what the prompt is made of, one step of AdaGrad per tree.

    It stands where V_0 (arXiv 2602.03584) stands: who predicts success before any rollout. V_0 embeds prompts with a
    language model and fits a tabular model in context on 256 past prompts and outcomes; nothing of it is kept but the
    place. Ours: all of the rule. Features are the words, numbers by their length, signs, pairs of neighbours, and the
    logarithm of how many there are, of the last 2,000 characters, hashed to 16,384 places; a tree counts by the share
    of its scored leaves that succeeded, however many they were. A task's own history is not used.

    It says nothing before it has seen 8 trees. Whether it is calibrated is for
    `treeroll.policies.predict.calibration` to say.
    """

    name: ClassVar[str] = "prompt"
    summary: ClassVar[str] = "logistic regression on the prompt's words, learned as the run's trees end"

    def __init__(self) -> None:
        self._weights: dict[int, float] = {}
        self._squares: dict[int, float] = {}
        self._seen = 0
        self._changed: set[int] = set()

    def of(self, task: TaskView) -> float | None:
        """Above 0 and below 1; None before `FIRST` trees."""
        return self._rate(features(task.text)) if self._seen >= FIRST else None

    def learn(self, task: TaskView, successes: int, scored: int) -> None:
        """One step towards what this tree's leaves did."""
        if scored <= 0:
            return
        self._seen += 1
        found = features(task.text)
        error = successes / scored - self._rate(found)
        for place, amount in found.items():
            gradient = error * amount
            square = self._squares[place] = self._squares.get(place, DAMPING) + gradient * gradient
            self._weights[place] = self._weights.get(place, 0.0) + STEP * gradient / math.sqrt(square)
        self._changed |= found.keys()

    def changes(self) -> Parts:
        """Trees, and of each place its weight and sum of squares."""
        if not self._changed:
            return {}
        changed, self._changed = self._changed, set()
        places = {f"{PART}{place}": [self._weights[place], self._squares[place]] for place in sorted(changed)}
        return {SEEN: self._seen, **places}

    def restore(self, parts: Parts) -> None:
        """Know what another one knew."""
        self._seen = int(parts.get(SEEN, 0))
        for name, value in parts.items():
            if name.startswith(PART):
                place = int(name.removeprefix(PART))
                self._weights[place], self._squares[place] = map(float, value)

    def _rate(self, found: Mapping[int, float]) -> float:
        known = self._weights
        # math.fsum: the order of features says nothing.
        odds = math.fsum(known.get(place, 0.0) * amount for place, amount in found.items())
        return 1 / (1 + math.exp(-min(30.0, max(-30.0, odds))))


def features(text: str) -> dict[int, float]:
    """Features of a prompt by place: 1 for what it has, a share of the length's logarithm at the last place."""
    parts = [_levelled(part) for part in _PARTS.findall(text[-CHARS:].lower())]
    counts = Counter(parts)
    counts.update(f"{one} {other}" for one, other in pairwise(parts))
    found = {1 + crc32(name.encode("utf-8", "replace")) % (PLACES - 2): 1.0 for name in counts}
    return {**found, 0: 1.0, PLACES - 1: math.log1p(len(parts)) / 4}


def _levelled(part: str) -> str:
    """Numbers by how many digits they have."""
    return "0" * len(part) if part.isdigit() else part

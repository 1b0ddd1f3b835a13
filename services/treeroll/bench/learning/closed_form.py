"""A world in which what shapes of trees are worth can be worked out: tokens with equal, orthogonal scores.

A path has TOKENS tokens. Some are open: each is -1 or 1 by a fair coin, and its score is that number along an axis of
its place. The others are determined: they cost a token and have no score. The reward is 1 where a sum over the open
tokens, all with the same weight, and of a normal draw of the leaf's own that no token decides, is above 0, else 0;
`decided` is the open tokens' part of the sum's variance. So the gradient is known, and a tree's noise depends on two
things alone: how many independent draws of open tokens it has, and how much leaves that share tokens agree. The
estimators are the real ones.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul
from typing import Final

import numpy as np
import numpy.typing as npt

from treeroll.bench.learning.noise import Draw, Estimate, Reference, efficiency, jackknife, noise_tokens
from treeroll.bench.result import Result, Table
from treeroll.bench.rounds import Rounds
from treeroll.policies import registry
from treeroll.policy.base import AdvantageEstimator, CreditTree, Limits

Floats = npt.NDArray[np.float64]
TOKENS: Final = 64
LEAVES: Final = 16
BATCHES: Final = 20
LIMITS: Final = Limits(leaves=LEAVES, segment_tokens=TOKENS, max_depth=4, max_tokens=TOKENS)
# Where the open tokens are, as shares of the path.
OPEN: Final[Mapping[str, tuple[float, float]]] = {
    "first quarter": (0.0, 0.25),
    "first half": (0.0, 0.5),
    "everywhere": (0.0, 1.0),
    "last half": (0.5, 1.0),
    "last quarter": (0.75, 1.0),
}


@dataclass(frozen=True)
class Shape:
    """`fanouts[k]` children of every node at fork k, which is at `places[k]` of the path; the first is the prompt."""

    name: str
    fanouts: tuple[int, ...]
    places: tuple[float, ...]

    def spans(self) -> list[tuple[int, int]]:
        """First and last place (exclusive) of the tokens of nodes at depth 1, 2, ..."""
        ends = [round(place * TOKENS) for place in (*self.places, 1.0)]
        return list(pairwise(ends))

    def tokens(self) -> int:
        """What a tree costs."""
        widths = accumulate(self.fanouts, mul)
        return sum(width * (end - start) for width, (start, end) in zip(widths, self.spans(), strict=True))


FLAT: Final = Shape("flat", (LEAVES,), (0.0,))
SHAPES: Final = (
    Shape("8 x 2 at 1/4", (8, 2), (0.0, 0.25)),
    Shape("8 x 2 at 3/4", (8, 2), (0.0, 0.75)),
    Shape("4 x 4 at 1/2", (4, 4), (0.0, 0.5)),
    Shape("4 x 4 at 3/4", (4, 4), (0.0, 0.75)),
    Shape("4, 2, 2 at thirds", (4, 2, 2), (0.0, 1 / 3, 2 / 3)),
    Shape("2 x 8 at 1/2", (2, 8), (0.0, 0.5)),
)


class World:
    """Open tokens in one part of the path, and how much of the reward's variance they decide."""

    def __init__(self, part: tuple[float, float] = OPEN["everywhere"], decided: float = 0.5) -> None:
        places = np.arange(TOKENS)
        self.open = (places >= round(part[0] * TOKENS)) & (places < round(part[1] * TOKENS))
        self._weight, self._own = math.sqrt(decided / self.open.sum()), math.sqrt(1 - decided)
        # E[reward * token], the sum of all the others taken as normal: Phi(w / sqrt(1 - w^2)) - 1/2.
        each = math.erf(self._weight / math.sqrt(2 * (1 - self._weight**2))) / 2
        self.gradient = self.open * each

    def draws(self, shape: Shape, credit: str, trees: int, seed: int) -> list[Draw]:
        """BATCHES draws of the gradient, each the mean over so many trees."""
        rng = np.random.default_rng(seed)
        estimator: AdvantageEstimator = registry.build("advantage", credit, {}, LIMITS)
        found = []
        for _ in range(BATCHES):
            gradients = np.array([self._gradient(shape, estimator, rng) for _ in range(trees)])
            along, squared = float((gradients @ self.gradient).mean()), float((gradients**2).sum(1).mean())
            found.append(Draw(shape.tokens(), along, squared, squared))
        return found

    def reference(self) -> Reference:
        """The gradient is known here."""
        squared = float(self.gradient @ self.gradient)
        return Reference(squared, squared)

    def _gradient(self, shape: Shape, estimator: AdvantageEstimator, rng: np.random.Generator) -> Floats:
        """What one tree delivers: credit times score, mean over its leaves."""
        leaves, spans = math.prod(shape.fanouts), shape.spans()
        paths = np.zeros((leaves, len(spans)), int)  # node numbers
        scores = np.zeros((leaves, TOKENS))
        first, width = 1, 1
        for depth, (fanout, (start, end)) in enumerate(zip(shape.fanouts, spans, strict=True)):
            width *= fanout
            node = np.arange(leaves) // (leaves // width)
            paths[:, depth] = first + node
            scores[:, start:end] = (rng.integers(0, 2, (width, end - start)) * 2 - 1)[node]
            first += width
        scores *= self.open
        sums = scores.sum(1) * self._weight + self._own * rng.standard_normal(leaves)
        rewards = (sums > 0).astype(float)
        last = paths[:, -1].tolist()
        tokens = {0: 0} | {n: end - start for column, (start, end) in zip(paths.T, spans, strict=True) for n in column}
        tree = CreditTree(
            dict(zip(last, map(tuple, paths.tolist()), strict=True)),
            dict(zip(last, rewards.tolist(), strict=True)),
            tokens,
            dict.fromkeys(tokens, 0.0),
        )
        credit = estimator.estimate(tree)
        values = np.array([credit[leaf] for leaf in last])
        lengths = [end - start for start, end in spans]
        return np.asarray((np.repeat(values, lengths, axis=1) * scores).mean(0))


def efficiencies(
    world: World, arms: Sequence[tuple[Shape, str]], trees: int = 50, seed: int = 1
) -> list[tuple[Estimate, float]]:
    """Of each arm (shape, credit), efficiency against flat samples with rloo, and the arm's scale."""
    known, flat = world.reference(), world.draws(FLAT, "rloo", trees, seed)
    found = []
    for number, (shape, credit) in enumerate(arms, seed + 1):
        mine = world.draws(shape, credit, trees, number)

        def ratio(batches: Sequence[int], mine: list[Draw] = mine) -> float:
            baseline, arm = (noise_tokens([draws[batch] for batch in batches], known) for draws in (flat, mine))
            return efficiency(baseline, arm)

        along = sum(draw.along for draw in mine) / len(mine)
        found.append((jackknife(BATCHES, ratio), along / known.squared))
    return found


@dataclass(slots=True)
class ClosedFormResult(Result):
    """Efficiencies by shape, credit and the part of the path in which the open tokens are."""

    def table(self) -> Table:
        """Shapes and credits down, parts across."""
        rows = []
        for name, (figures, *_) in self.rounds.items():
            shape, credit = name.split(": ")
            cells = [f"{figures[part]:.2f} ({figures[f'{part}, error']:.2f})" for part in OPEN]
            rows.append([shape, credit, *cells, f"{figures['everywhere, scale']:.2f}"])
        titles = [
            "roots x children, at",
            "credit",
            *(f">open: {part}" for part in OPEN),
        ]
        return Table(
            "closed form: efficiency against flat samples with rloo, jackknife error in brackets",
            [*titles, ">scale (everywhere)"], rows,
        )  # fmt: skip


def measure(credits: Sequence[str] = ("rloo", "ancestors", "spo"), trees: int = 50) -> ClosedFormResult:
    """All shapes, credits and parts."""
    arms = [(shape, credit) for shape in SHAPES for credit in credits]
    rounds = Rounds({f"{shape.name}: {credit}": [{}] for shape, credit in arms})
    for part, span in OPEN.items():
        for (shape, credit), (found, along) in zip(arms, efficiencies(World(span), arms, trees), strict=True):
            rounds[f"{shape.name}: {credit}"] = [
                {**rounds[f"{shape.name}: {credit}"][0], part: found.value, f"{part}, error": found.error,
                 f"{part}, scale": along}
            ]  # fmt: skip
    remark = (
        f"{LEAVES} leaves; half of the variance behind the reward is the open tokens'; {BATCHES * trees} trees each"
    )
    return ClosedFormResult("closed form", {"trees": BATCHES * trees, "decided": 0.5}, rounds, (), [remark])

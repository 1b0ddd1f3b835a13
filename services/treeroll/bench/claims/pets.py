"""PETS: fewer samples until every vote is what it would be with all of them."""

from collections.abc import Sequence

from treeroll.bench.claims.arena import Arena
from treeroll.bench.claims.arms import POOL
from treeroll.bench.claims.claim import Claim, Verdict, holds, middle
from treeroll.bench.claims.statistics import vote
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures
from treeroll.boxed import last_boxed
from treeroll.client import TreeRecord
from treeroll.policies.allocate.pets_offline import PETSOffline
from treeroll.tree.rng import shuffled

# Orders in which the pools are drawn from; the source has 10.
ORDERS = 4
CLAIMED = 75.0


async def _measure(arena: Arena, seed: int) -> Figures:
    pools = [_answers(tree) for tree in (await arena.grow(POOL, seed)).trees]
    orders = [[shuffled(pool, seed, order, place) for place, pool in enumerate(pools)] for order in range(ORDERS)]
    even = sum(map(uniform, orders)) / ORDERS
    chosen = sum(pets(order, seed) for order in orders) / ORDERS
    return {"uniform": even, "pets": chosen, "fewer": 100 * (1 - chosen / even)}


def _answers(tree: TreeRecord) -> list[str]:
    """One per sample; a sample without a boxed answer has the empty one."""
    return [last_boxed(sample.completion_text) or "" for sample in tree.samples]


def uniform(pools: Sequence[Sequence[str]]) -> float:
    """Samples per question, the same for each, until all votes are those of whole pools."""
    settled = [vote(pool) for pool in pools]
    longest = max(map(len, pools))
    for count in range(1, longest + 1):
        if all(vote(pool[:count]) == answer for pool, answer in zip(pools, settled, strict=True)):
            return sum(min(count, len(pool)) for pool in pools) / len(pools)
    return float(longest)


def pets(pools: Sequence[Sequence[str]], seed: int) -> float:
    """Samples per question, as PETS draws them, until all votes are those of whole pools."""
    settled = [vote(pool) for pool in pools]
    policy = PETSOffline(len(pools), seed)
    taken = [0] * len(pools)
    wrong = set(range(len(pools)))
    while wrong and (asked := policy.next()):
        for question in asked:
            policy.tell(question, pools[question][taken[question]])
            taken[question] += 1
            if taken[question] == len(pools[question]):
                policy.exhaust(question)
            agrees = vote(pools[question][: taken[question]]) == settled[question]
            (wrong.discard if agrees else wrong.add)(question)
    return sum(taken) / len(pools)


def _judge(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    fewer = middle(rounds, "fewer")
    return holds(fewer >= CLAIMED, f"{fewer:.0f} % fewer samples until every vote agrees with that of its whole pool")


CLAIM = Claim(
    name="pets",
    paper="PETS, arXiv 2602.16745",
    says="75 % fewer samples (offline) than with the same number for each question, for full self-consistency",
    conditions="GPQA, pools of 64. Here: pools of 48; the online variant is not run",
    columns=(
        Column("uniform", "samples per task, the same for each", 1),
        Column("pets", "as PETS draws them", 1),
        Column("fewer", "fewer, %", 0),
    ),
    measure=_measure,
    judge=_judge,
)

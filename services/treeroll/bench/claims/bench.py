"""All claims on one service, seed by seed, and the table of what was found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from treeroll.bench.claims import deadline, headline, ib_tpo, knapsack, pets, predictor, pruning, search, treepo, turns
from treeroll.bench.claims.arena import Arena
from treeroll.bench.claims.claim import Claim
from treeroll.bench.result import Result, Table
from treeroll.bench.rounds import Rounds
from treeroll.bench.service import BenchService
from treeroll.demo import MODEL_DIR, TOOL_MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.tasks import Task

CLAIMS: Final[Mapping[str, Claim]] = {
    claim.name: claim
    for claim in (
        headline.CLAIM, treepo.CLAIM, ib_tpo.CLAIM, knapsack.CLAIM, pets.CLAIM, search.DORA, search.ETS, search.BAVT,
        *pruning.CLAIMS, deadline.CLAIM, predictor.CLAIM, turns.CLAIM,
    )
}  # fmt: skip
# What all arms share, the length limit too: cut shorter, an arm would lose the hardest tasks, and a comparison of two
# limits would be taken for one of two algorithms. Paths of the demo model have some 130 tokens, and the hardest tasks
# the longest: short segments let trees fork several times.
SHAPE: Final[Mapping[str, Any]] = {
    "segment_tokens": 16, "max_depth": 16, "max_tokens": 256, "scorer": "arith", "segment": {"aligned": False},
}  # fmt: skip

MODELS: Final[Mapping[str, Path]] = {"demo": MODEL_DIR, "tools": TOOL_MODEL_DIR}


def chosen(names: str | None) -> list[Claim]:
    """The claims of these names, all without any. InvalidInput for one that does not exist."""
    if names is None:
        return list(CLAIMS.values())
    unknown = [name for name in names.split(",") if name not in CLAIMS]
    if unknown:
        raise InvalidInput(f"there is no claim '{unknown[0]}'; there are {', '.join(CLAIMS)}")
    return [CLAIMS[name] for name in names.split(",")]


@dataclass(slots=True)
class ClaimsResult(Result):
    """What was found, as a table of sentences."""

    claims: Sequence[Claim] = ()

    def table(self) -> Table:
        """One row per claim."""
        rows = []
        for claim in self.claims:
            found = self.rounds[claim.name]
            verdict, why = claim.verdict(found)
            rows.append([
                f"{claim.name}\n{claim.paper}", f"{claim.says}\n\n{claim.conditions}",
                claim.measured(found) if found else "-",
                f"{verdict}: {why}\n",
            ])  # fmt: skip
        seeds = max((len(found) for found in self.rounds.values()), default=0)
        titles = ["claim", "what the paper says, and where", "measured here", "verdict"]
        return Table(f"claims: median (lowest-highest) of {seeds} seeds", titles, rows)

    def as_json(self) -> dict[str, Any]:
        """Everything, with the claims and verdicts beside every seed's figures."""
        verdicts = {}
        for claim in self.claims:
            verdict, why = claim.verdict(self.rounds[claim.name])
            verdicts[claim.name] = {
                "paper": claim.paper, "says": claim.says, "conditions": claim.conditions,
                "verdict": verdict.value, "why": why,
            }  # fmt: skip
        # Not super(): a dataclass with slots is made twice, and the one it names is the first.
        return {**Result.as_json(self), "claims": verdicts}


async def measure(
    claims: Sequence[Claim], tasks: Sequence[Task], seeds: int, generator: Mapping[str, Any],
    note: Callable[[str], None],
) -> ClaimsResult:  # fmt: skip
    """Every claim that can be measured for every seed, the claims taking turns. One service per model, one at a time.

    `generator` are settings of the engine; the model is the claims'.
    """
    rounds = Rounds({claim.name: [] for claim in claims})
    for model, path in MODELS.items():
        able = [claim for claim in claims if claim.model == model and claim.missing() is None]
        if not able:
            continue
        note(f"starting a service with the {model} model")
        async with BenchService({"generator": {**generator, "model": str(path)}}) as running:
            arena = Arena(running, tasks, SHAPE, note)
            for seed in range(1, seeds + 1):
                for claim in able:
                    rounds[claim.name].append(await claim.measure(arena, seed))
    parameters = {"seeds": seeds, "tasks": len(tasks), "shape": dict(SHAPE), "generator": dict(generator)}
    return ClaimsResult("claims", parameters, rounds, (), claims=claims)

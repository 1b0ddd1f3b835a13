"""What a simulated coordinator finds around itself: its model's tokenizer, calls that it answers, and scorers."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import grpc

from treeroll.errors import ERROR_METADATA_KEY, TreerollError, Unavailable, by_name
from treeroll.scorers.base import ErrorKind, ScoreCounts, ScoreRequest, ScoreResult
from treeroll.simulation.world import MODEL_LEN
from treeroll.tree.node import NodeStatus

if TYPE_CHECKING:
    from treeroll.simulation.universe.life import Life
    from treeroll.simulation.universe.universe import Universe

VOCABULARY = 100
# Scores come after this long, seconds, on average; slow ones take as much of their timeout as chance says.
USUAL_S = 0.2


class Chat:
    """A chat template that nobody uses."""

    reads_date = False


class Tokens:
    """What the service reads of its tokenizer."""

    hash = prompt_hash = "tokenizer"
    vocab_size = VOCABULARY
    max_model_len = MODEL_LEN
    pad_token_id = 0
    chat = Chat()

    def decode(self, ids: Sequence[int]) -> str:
        """Prompts are ids, and their text is nobody's matter."""
        return ""

    def check_length(self, tokens: int, where: str) -> None:
        """Every prompt of a world fits."""

    def check_prompt(self, ids: Sequence[int], where: str) -> None:
        """Every prompt of a world can be read."""

    def check_writes(self, text: str, where: str) -> None:
        """Every text of a policy can be written."""


class Call:
    """What a handler is told of the call that it answers."""

    def __init__(self) -> None:
        self._metadata: Mapping[str, str] = {}

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        """What comes with its end."""
        self._metadata = dict(metadata)

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with an error."""
        raise Aborted(code, details, by_name(self._metadata.get(ERROR_METADATA_KEY, "")))


class Aborted(Exception):
    """A call ended with an error, of a kind that the service names."""

    def __init__(self, code: grpc.StatusCode, details: str, kind: type[TreerollError] = TreerollError) -> None:
        super().__init__(details)
        self.code, self.details, self.kind = code, details, kind

    def __str__(self) -> str:
        return f"{self.kind.__name__}, {self.code.name}: {self.details}"


class VirtualScorers:
    """Scorers and judges of one life of a coordinator: what they say of a path depends on the path alone, unless they
    are fickle or the world's faults have them fail."""

    def __init__(self, universe: "Universe", life: "Life") -> None:
        self.counts = ScoreCounts()
        self._universe, self._life = universe, life

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def score(
        self, requests: Sequence[ScoreRequest], timeout_s: float, *, first: bool = False
    ) -> list[ScoreResult]:
        """One result for each request, in order."""
        universe, faults = self._universe, self._universe.faults
        usual = universe.random.expovariate(1 / USUAL_S)
        await asyncio.sleep(timeout_s * universe.random.random() if universe.happens(faults.slow_scorers) else usual)
        if universe.happens(faults.failing_scorers):
            universe.note(f"scorers of {len(requests)} paths fail")
            raise Unavailable("the scorers stop")
        return [self._scored(request) for request in requests]

    def _scored(self, request: ScoreRequest) -> ScoreResult:
        universe = self._universe
        if universe.happens(universe.faults.failing_scorers):
            return ScoreResult.failed(ErrorKind.TIMEOUT, "it took too long")
        tree_id, _, node = str(request.key).partition(":")
        live = self._life.coordinator.state.trees.get(tree_id)
        if live is None:
            return ScoreResult(0.0)  # which nobody waits for any more
        said = universe.value if live.tree.nodes[int(node)].status is not NodeStatus.LEAF else universe.reward
        value = said(live, int(node))
        if value is None:
            return ScoreResult(None) if universe.work.abstains else ScoreResult.failed(ErrorKind.RAISED, "it fails")
        return ScoreResult(universe.random.choice((value, 1 - value)) if universe.work.fickle else value)


def refused(error: Exception, *kinds: type[TreerollError]) -> bool:
    """Whether a call ended with an error of one of these kinds."""
    return isinstance(error, Aborted) and issubclass(error.kind, kinds)

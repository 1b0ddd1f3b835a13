"""What goes wrong in one branch ends that branch, with its cause, and nothing else: other branches never notice."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Iterable
from typing import Any

import pytest
from tests.support.fake_coordinator import FakeCoordinator, Told

from treeroll.demo import MODEL_DIR
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, EngineRequest, VersionSpan
from treeroll.generator.replica import Replica
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.pb.v1 import replica_pb2 as wire

DETOKENIZER = Detokenizer(MODEL_DIR)
PROMPT = DETOKENIZER.tokenizer.encode("Compute 20+31.\n").ids
BOUNDARIES = [33, 65]
ROOM = BOUNDARIES[-1] - len(PROMPT)
WORD = DETOKENIZER.tokenizer.encode("x").ids[0]
# The seed of the branch that something happens to.
UNLUCKY = 13


class Engine(SimulatedEngine):
    """Answers the unlucky branch with a script, and everybody else at full length."""

    def __init__(self, *script: Delta | Exception, after_its_end: Exception | None = None) -> None:
        super().__init__(DETOKENIZER.tokenizer, max_model_len=1024)
        self.script = script
        self.after_its_end = after_its_end
        self.closed: list[int] = []

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        script = self.script if request.seed == UNLUCKY else [says(10), says(ROOM - 10, finish="length")]
        try:
            for said in script:
                await asyncio.sleep(0)
                if isinstance(said, Exception):
                    raise said
                yield said
            if self.after_its_end is not None and request.seed == UNLUCKY:
                raise self.after_its_end
        finally:
            self.closed.append(request.seed)

    async def abort(self, request_ids: Iterable[str]) -> None:
        pass


def says(tokens: int, logprob: float = -0.5, **changes: Any) -> Delta:
    ids = changes.pop("token_ids", [WORD] * tokens)
    return Delta(**{"token_ids": ids, "logprobs": [logprob] * tokens, "spans": [VersionSpan(0, tokens)], **changes})


async def served(
    engine: Engine, detokenizer: Detokenizer = DETOKENIZER, top_logprobs: int = 0
) -> tuple[Told, list[Told], Replica]:
    """What became of the unlucky branch, of three that started with it, and of one that started after its end."""
    async with FakeCoordinator() as coordinator:
        replica = Replica(engine, detokenizer, "r0", 1, coordinator.address)
        task = asyncio.create_task(replica.run())
        try:
            await coordinator.hello("r0")
            asked = {"tree_id": "t", "top_logprobs": top_logprobs}
            grants = coordinator.start_many("r0", PROMPT, BOUNDARIES, 4, seed=UNLUCKY, **asked)
            unlucky, *others = await coordinator.ended(*grants)
            others += await coordinator.ended(coordinator.start("r0", PROMPT, BOUNDARIES, seed=99, **asked))
            assert not task.done()
            assert sum(segment.HasField("end") for segment in unlucky.segments) == 1
            assert replica.tally.generated == replica.tally.reported + replica.tally.dropped
            assert replica.live_branches == 0
            return unlucky, others, replica
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


IMPOSSIBLE = {
    "nan": says(3, math.nan),
    "inf": says(3, math.inf),
    "minus inf": says(3, -math.inf),
    "positive": says(3, 0.5),
    "nan behind good ones": says(3, logprobs=[-0.5, -0.5, math.nan]),
    "too few": says(3, logprobs=[-0.5] * 2),
    "too many": says(3, logprobs=[-0.5] * 4),
    "none": says(3, logprobs=[]),
    "nan in the last delta": says(3, math.nan, finish="eos"),
}
UNLABELLED = {
    "none": [],
    "too few": [VersionSpan(1, 1), VersionSpan(2, 1)],
    "too many": [VersionSpan(1, 4)],
}


@pytest.mark.parametrize("spans", UNLABELLED.values(), ids=UNLABELLED)
async def test_tokens_without_a_weight_version_end_the_branch(spans: list[VersionSpan]) -> None:
    unlucky, others, _ = await served(Engine(says(3, spans=spans), says(20)))
    assert unlucky.end.reason == wire.END_REASON_ERROR
    assert "a weight version for" in unlucky.end.error
    assert all(other.end.reason == wire.END_REASON_LENGTH for other in others)


@pytest.mark.parametrize("delta", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
async def test_logprobs_that_cannot_be_end_the_branch_and_never_become_a_segment(delta: Delta) -> None:
    engine = Engine(says(len(BOUNDARIES) + 24 - len(PROMPT) + 10), delta, says(20))
    unlucky, others, _ = await served(engine)
    assert unlucky.end.reason == wire.END_REASON_ERROR
    assert "logprob" in unlucky.end.error
    assert all(-1 < logprob < 0 for logprob in unlucky.logprobs)
    assert all(other.end.reason == wire.END_REASON_LENGTH for other in others)
    assert UNLUCKY in engine.closed


@pytest.mark.parametrize("entropies", [None, [0.1], [0.1, math.nan, 0.1], [0.1, math.inf, 0.1], [0.1, -0.5, 0.1]])
async def test_entropies_that_cannot_be_end_the_branch(entropies: list[float] | None) -> None:
    class WithEntropies(Engine):
        async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
            async for delta in super().generate(request):
                if request.seed != UNLUCKY:
                    delta.entropies = [0.1] * len(delta.token_ids)
                yield delta

    unlucky, others, _ = await served(WithEntropies(says(3, entropies=entropies)), top_logprobs=5)
    assert unlucky.end.reason == wire.END_REASON_ERROR
    assert "entropy" in unlucky.end.error
    assert all(other.end.reason == wire.END_REASON_LENGTH for other in others)


EXCEPTIONS = {
    "bare": ([Exception("Invalid prefix encountered")], "Exception: Invalid prefix encountered"),
    "of a library": ([says(3), KeyError("slot")], "KeyError: 'slot'"),
    "of several lines": ([RuntimeError("one\ntwo")], "RuntimeError: one two"),
    "an id beyond int32": ([says(1, token_ids=[2**40])], "OverflowError"),
    "an id below 0": ([says(3), says(1, token_ids=[-1])], "token -1"),
    "cached tokens below 0": ([says(40, cached_tokens=-1)], "found -1 tokens of a prefix"),
    "more cached tokens than there are": ([says(40, cached_tokens=99)], "found 99 tokens of a prefix"),
    "a text that is none": ([ValueError("\ud83d")], "ValueError: ?"),
    "no end": ([says(3)], "stopped without an end"),
    "nothing at all": ([], "stopped without an end"),
}


@pytest.mark.parametrize(("script", "error"), EXCEPTIONS.values(), ids=EXCEPTIONS)
async def test_whatever_is_raised_for_one_branch_ends_it_with_its_text(
    script: list[Delta | Exception], error: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        unlucky, others, _ = await served(Engine(*script))
    assert unlucky.end.reason == wire.END_REASON_ERROR
    assert error in unlucky.end.error
    assert all(other.end.reason == wire.END_REASON_LENGTH for other in others)
    assert "request g1" in caplog.text


async def test_what_is_raised_after_a_branch_has_ended_changes_nothing() -> None:
    engine = Engine(says(ROOM, finish="length"), after_its_end=RuntimeError("late"))
    unlucky, others, _ = await served(engine)
    assert unlucky.end.reason == wire.END_REASON_LENGTH
    assert all(other.end.reason == wire.END_REASON_LENGTH for other in others)


class Stumbling(Detokenizer):
    """Raises where it is told to: the first time that a stream is opened, or the first time that one is read."""

    def __init__(self, where: str) -> None:
        super().__init__(MODEL_DIR)
        self.where = where

    def open(self, prefix_ids: Any) -> Any:
        if self.where == "open":
            self.where = ""
            raise Exception("Invalid prefix encountered")
        stream = super().open(prefix_ids)
        if self.where == "step":
            self.where = ""
            stream.step = self._stumble  # type: ignore[method-assign]
        return stream

    def _stumble(self, token_ids: Any) -> str:
        raise Exception("Invalid prefix encountered")


@pytest.mark.parametrize("where", ["open", "step"])
async def test_text_that_cannot_be_decoded_ends_its_branch_only(where: str) -> None:
    unlucky, others, _ = await served(Engine(says(ROOM, finish="length")), Stumbling(where))
    assert unlucky.end.reason == wire.END_REASON_ERROR
    assert "Invalid prefix encountered" in unlucky.end.error
    assert not unlucky.token_ids
    assert all(other.end.reason == wire.END_REASON_LENGTH for other in others)

"""A branch whose segments end with delimiters: what it reports, and how it ends."""

from array import array
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from treeroll.demo import MODEL_DIR
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, EngineRequest, Finish, VersionSpan
from treeroll.generator.outbox import Outbox
from treeroll.generator.request import BranchRequest, Tally
from treeroll.generator.sequence import GrantSequence
from treeroll.pb.v1 import replica_pb2 as wire

DETOKENIZER = Detokenizer(MODEL_DIR)
PROMPT = DETOKENIZER.tokenizer.encode("Compute 20+31.\n").ids
EOS = 1
LONGEST = 500
# Tokens that an engine has decoded when it hears of an abort, and gives out with its end.
LATE = 5


class ScriptedEngine:
    """Says what it is told to, delta by delta."""

    def __init__(self, deltas: list[Delta]) -> None:
        self.deltas = deltas
        self.aborted = False
        self.request: EngineRequest | None = None

    async def generate(self, request: EngineRequest) -> AsyncIterator[Delta]:
        self.request = request
        for delta in self.deltas:
            if self.aborted:
                yield says("x" * LATE, "abort")
                return
            yield delta

    async def abort(self, request_ids: Iterable[str]) -> None:
        self.aborted = True


def says(text: str, finish: Finish | None = None) -> Delta:
    ids = DETOKENIZER.tokenizer.encode(text).ids + ([EOS] if finish == "eos" else [])
    return Delta(ids, [-0.5] * len(ids), [VersionSpan(0, len(ids))], finish=finish)


async def serve(
    *deltas: Delta, hold: bool = False, run_ahead: int = 9, levels: int = 8, longest: int = LONGEST, **changes: Any
) -> tuple[list[wire.Segment], Tally]:
    """All that a branch reports of these deltas, its end last."""
    fields = {"delimiter": wire.Delimiter(texts=["\n"]), "boundaries": [longest] * levels, **changes}
    start = wire.StartBranch(grant=1, prompt_tokens=len(PROMPT), max_total=longest, hold=hold, **fields)
    sequence = GrantSequence(array("i", PROMPT), len(PROMPT), "")
    outbox, tally = Outbox(), Tally()
    branch = BranchRequest(start, sequence, ScriptedEngine(list(deltas)), DETOKENIZER, outbox, tally, run_ahead)  # type: ignore[arg-type]
    await branch.run()
    report = outbox.next_report()
    assert report is not None
    segments = list(report.segments)
    assert not any(segment.HasField("end") for segment in segments[:-1])
    assert tally.generated == tally.reported + tally.dropped
    assert tally.dropped == segments[-1].end.dropped_tokens
    return segments, tally


def texts(segments: list[wire.Segment]) -> list[str]:
    return [segment.text for segment in segments if segment.tokens]


async def test_a_running_branch_decodes_on_through_its_delimiters() -> None:
    segments, tally = await serve(says("one\ntw"), says("o\n"), says("three", "eos"))
    assert texts(segments) == ["one\n", "two\n", "three"]
    assert segments[-1].end.reason == wire.END_REASON_EOS
    assert (segments[-1].tokens, tally.dropped) == (6, 0)


async def test_an_end_of_sequence_right_after_a_delimiter_is_a_segment_of_its_own() -> None:
    segments, _ = await serve(says("one\n", "eos"))
    assert [(segment.text, segment.tokens) for segment in segments] == [("one\n", 4), ("", 1)]
    assert segments[-1].end.reason == wire.END_REASON_EOS


@pytest.mark.parametrize("hold", [False, True])
async def test_an_end_of_sequence_that_is_a_delimiter_ends_the_path(hold: bool) -> None:
    only = wire.Delimiter(token_ids=[EOS])
    segments, tally = await serve(says("one\n", "eos"), hold=hold, run_ahead=1, delimiter=only)
    assert [(segment.text, segment.tokens, segment.end.reason) for segment in segments] == [
        ("one\n", 5, wire.END_REASON_EOS)
    ]
    assert tally.dropped == 0


@pytest.mark.parametrize("hold", [False, True])
async def test_a_delimiter_completed_at_the_longest_total_is_the_end_of_the_path(hold: bool) -> None:
    segments, _ = await serve(says("one\n", "length"), hold=hold, longest=len(PROMPT) + 4, run_ahead=1)
    assert [(segment.text, segment.end.reason) for segment in segments] == [("one\n", wire.END_REASON_LENGTH)]


@pytest.mark.parametrize("hold", [False, True])
async def test_a_path_in_its_last_segment_runs_to_the_longest_total(hold: bool) -> None:
    segments, _ = await serve(says("a\nb\n"), says("c\nd", "length"), hold=hold, levels=1, longest=len(PROMPT) + 7)
    assert [(segment.text, segment.end.reason) for segment in segments] == [("a\nb\nc\nd", wire.END_REASON_LENGTH)]


async def test_a_held_branch_ends_with_its_first_delimiter_and_drops_what_came_after() -> None:
    segments, tally = await serve(says("one\ntwo\nth"), says("never said"), hold=True)
    assert [(segment.text, segment.end.reason) for segment in segments] == [("one\n", wire.END_REASON_HOLD)]
    assert tally.dropped == len("two\nth") + LATE


@pytest.mark.parametrize("finish", ["eos", "length", "error"])
async def test_a_branch_is_held_at_its_delimiter_whatever_became_of_the_request_after_it(finish: Finish) -> None:
    segments, tally = await serve(says("one\ntwo", finish), hold=True)
    assert [(segment.text, segment.end.reason) for segment in segments] == [("one\n", wire.END_REASON_HOLD)]
    assert tally.dropped == 3 + (finish == "eos")


async def test_a_branch_without_credit_ends_after_the_segment_that_used_it() -> None:
    # Delimited segments may be short: four of them are one of credit.
    segments, tally = await serve(says("a\nb\nc\nd\ne\n"), says("never said"), run_ahead=1)
    assert texts(segments) == ["a\n", "b\n", "c\n", "d\n"]
    assert segments[-1].end.reason == wire.END_REASON_CREDIT
    assert tally.dropped == 2 + LATE


async def test_a_request_that_ends_beyond_the_credit_is_granted_again() -> None:
    segments, tally = await serve(says("a\nb\nc\nd\nefg", "eos"), run_ahead=1)
    assert texts(segments) == ["a\n", "b\n", "c\n", "d\n"]
    assert segments[-1].end.reason == wire.END_REASON_CREDIT
    assert tally.dropped == 4


@pytest.mark.parametrize("boundaries", [[], [LONGEST, LONGEST + 1], [100, LONGEST]])
async def test_an_order_whose_segments_have_other_limits_than_its_path_is_refused(boundaries: list[int]) -> None:
    [segment], _ = await serve(says("never said"), boundaries=boundaries)
    assert segment.end.reason == wire.END_REASON_ERROR
    assert "boundaries must grow" in segment.end.error

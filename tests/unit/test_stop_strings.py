"""A branch whose run has stop strings or stop ids of its own: where it ends, with which tokens, and what it says."""

from array import array
from dataclasses import asdict
from typing import Any

import pytest
from tests.unit.test_delimited_branch import DETOKENIZER, EOS, LATE, PROMPT, ScriptedEngine, says

from treeroll.generator.engine import Delta
from treeroll.generator.outbox import Outbox
from treeroll.generator.request import BranchRequest, Tally
from treeroll.generator.sequence import GrantSequence
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.sampling import Sampling

START = len(PROMPT)
STOP, END, CREDIT, HOLD = wire.END_REASON_STOP, wire.END_REASON_EOS, wire.END_REASON_CREDIT, wire.END_REASON_HOLD


async def serve(
    *deltas: Delta, before: str = "", ends: tuple[int, ...] = (10, 20, 200), run_ahead: int = 9, **changes: Any
) -> tuple[list[wire.Segment], ScriptedEngine]:
    """All that a branch reports of these deltas behind some completion text. `ends` are in completion tokens."""
    settings = {name: changes.pop(name) for name in list(changes) if name in ("stop", "stop_token_ids", "min_tokens")}
    sampling = Sampling(**settings).ending_with([EOS])
    prefix = [*PROMPT, *DETOKENIZER.tokenizer.encode(before).ids]
    boundaries = [START + end for end in ends if START + end > len(prefix)]
    start = wire.StartBranch(
        grant=1, prompt_tokens=START, boundaries=boundaries, max_total=boundaries[-1],
        sampling=wire.Sampling(**asdict(sampling)), **changes,
    )  # fmt: skip
    engine, outbox, tally = ScriptedEngine(list(deltas)), Outbox(), Tally()
    sequence = GrantSequence(array("i", prefix), START, before)
    await BranchRequest(start, sequence, engine, DETOKENIZER, outbox, tally, run_ahead).run()  # type: ignore[arg-type]
    report = outbox.next_report()
    assert report is not None
    segments = list(report.segments)
    assert sum(segment.HasField("end") for segment in segments) == 1
    assert tally.generated == tally.reported + tally.dropped
    assert tally.dropped == segments[-1].end.dropped_tokens
    for segment in segments:
        ids = array("i", pb.Node.FromString(segment.node).token_ids)
        assert len(ids) == segment.tokens
        assert DETOKENIZER.tokenizer.decode(list(ids)) == segment.text
    return segments, engine


def told(segments: list[wire.Segment]) -> list[tuple[str, int]]:
    return [(segment.text, segment.end.reason) for segment in segments]


async def test_a_stop_string_ends_the_path_with_the_token_that_completes_it_and_stays_in_the_path() -> None:
    segments, engine = await serve(says("one, t"), says("wo; three"), says("never"), stop=("two",))
    assert told(segments) == [("one, two", STOP)]
    assert engine.aborted
    assert segments[-1].end.dropped_tokens == len("; three") + LATE


@pytest.mark.parametrize("delta", [says("one; two", "eos"), says("one; two", "length"), says("one; two")])
async def test_what_the_engine_says_of_tokens_behind_it_does_not_matter(delta: Delta) -> None:
    segments, _ = await serve(delta, stop=(";",))
    assert told(segments) == [("one;", STOP)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12345678;abc", [("12345678;", STOP)]),
        ("123456789;abc", [("123456789;", STOP)]),  # at a boundary
        ("1234567890;abc", [("1234567890", 0), (";", STOP)]),
        ("12345678901;abcdefgh;", [("1234567890", 0), ("1;", STOP)]),
        ("123456789ab;", [("123456789a", 0), ("b;", STOP)]),
    ],
)
async def test_segments_end_at_their_boundaries_up_to_it(text: str, expected: list[tuple[str, int]]) -> None:
    for size in (1, 3, len(text)):
        deltas = [says(text[at : at + size]) for at in range(0, len(text), size)]
        segments, _ = await serve(*deltas, stop=(";",))
        assert told(segments) == expected


async def test_it_may_straddle_a_boundary_in_a_branch_that_runs_on_and_in_one_that_starts_there() -> None:
    segments, _ = await serve(says("123456789\n"), says("\nmore"), stop=("\n\n",))
    assert told(segments) == [("123456789\n", 0), ("\n", STOP)]
    segments, _ = await serve(says("\nmore"), before="123456789\n", stop=("\n\n",))
    assert told(segments) == [("\n", STOP)]


async def test_a_prompt_completes_nothing() -> None:
    segments, _ = await serve(says("\nab;"), stop=("\n\n", ";"))  # the prompt ends with a new line
    assert told(segments) == [("\nab;", STOP)]


@pytest.mark.parametrize(("text", "reason"), [("12345;", STOP), ("123456789;", STOP), ("1234567890", HOLD)])
async def test_a_held_branch_ends_where_it_stops_or_is_held_whichever_comes_first(text: str, reason: int) -> None:
    said = (text + "more")[:10]  # the engine decodes no further
    segments, _ = await serve(says(said, "length"), stop=(";",), hold=True)
    assert told(segments) == [(text if reason == STOP else said, reason)]


async def test_a_stop_beyond_the_credit_is_sampled_again() -> None:
    segments, _ = await serve(says("1234567890abc;de"), stop=(";",), run_ahead=1)
    assert told(segments) == [("1234567890", CREDIT)]


async def test_it_ends_the_path_in_segments_that_end_with_delimiters_too() -> None:
    line = wire.Delimiter(texts=["\n"])
    segments, _ = await serve(says("one\ntwo; three\n"), stop=(";",), delimiter=line, ends=(200, 200, 200))
    assert told(segments) == [("one\n", 0), ("two;", STOP)]


@pytest.mark.parametrize(("before", "text"), [("", "a;b;c;d;e"), ("a;b", ";c;d;e"), ("a;b;c;", "d;e")])
async def test_nothing_stops_a_path_before_its_least_tokens_wherever_its_request_begins(before: str, text: str) -> None:
    segments, engine = await serve(says(text), before=before, stop=(";",), min_tokens=6)
    assert before + segments[0].text == "a;b;c;d;"
    assert engine.request is not None
    assert engine.request.sampling.min_tokens == max(0, 6 - len(before))


async def test_a_stop_id_of_the_run_is_told_from_the_models_end_of_sequence() -> None:
    own = DETOKENIZER.tokenizer.encode(";").ids[0]
    said = says("one;")
    said.finish = "eos"
    segments, engine = await serve(said, stop_token_ids=(own,))
    assert told(segments) == [("one;", STOP)]
    assert engine.request is not None
    assert engine.request.sampling.stop_token_ids == (EOS, own)
    segments, _ = await serve(says("one", "eos"), stop_token_ids=(own,))
    assert told(segments) == [("one", END)]

"""Which segments the core takes from a replica where content ends them."""

import struct

import pytest

from treeroll.core.model.effects import StartBranch
from treeroll.core.model.events import EndKind, ReplicaJoined, RunCreated, SegmentReported, TasksSubmitted
from treeroll.core.model.run import RunSpec, TaskSpec
from treeroll.core.model.state import CoreSettings, State
from treeroll.core.step import step
from treeroll.errors import BrokenInvariant
from treeroll.policies import registry
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Delimiter, Limits
from treeroll.sampling import Sampling

# A prompt of 5 tokens and up to 3 segments: paths end at 105.
LIMITS = Limits(leaves=1, segment_tokens=32, max_depth=3, max_tokens=100)


def growing() -> tuple[State, StartBranch]:
    """One branch of one tree, and the order to start it."""
    state = State(CoreSettings(registry.build("placement", "parent_affinity", {}, LIMITS)))
    made = build_policies("flat", LIMITS, {"segment": {"name": "delimiter"}})
    spec = RunSpec("run", "{}", 7, 100, Sampling(), made.segment, made.branch, made.prune, made.advantage)
    step(state, ReplicaJoined("r0", 1, 8, 16, 4096), 0.0)
    step(state, RunCreated(spec), 0.0)
    task = TaskSpec("t", 0, "tree", struct.pack("<5i", *range(5)), "", "d")
    [start] = [e for e in step(state, TasksSubmitted("run", [task]), 0.0) if isinstance(e, StartBranch)]
    return state, start


def report(state: State, start: StartBranch, tokens: int, end: EndKind | None = None) -> None:
    step(state, SegmentReported("r0", 1, start.grant, tokens, end=end), 0.0)


def test_an_order_names_the_delimiter_and_its_reservation_is_for_the_longest_path() -> None:
    state, start = growing()
    assert (start.delimiter, start.boundaries) == (Delimiter(("\n\n",)), [105, 105, 105])
    assert state.runs["run"].ledger.outstanding == 100


@pytest.mark.parametrize("last", [(7, EndKind.EOS), (69, EndKind.LENGTH)])
def test_segments_of_any_length_make_a_path(last: tuple[int, EndKind]) -> None:
    state, start = growing()
    for tokens in (1, 30):
        report(state, start, tokens)
    report(state, start, *last)
    ledger = state.runs["run"].ledger
    assert (ledger.spent, ledger.outstanding) == (31 + last[0], 0)
    assert state.runs["run"].finished == 1


@pytest.mark.parametrize(
    ("before", "tokens", "end"),
    [
        ((), 101, EndKind.LENGTH),  # beyond the longest total
        ((), 50, EndKind.LENGTH),  # a path that ends by its length too early
        ((1, 1), 50, None),  # a delimiter in the last segment
        ((1, 1), 50, EndKind.HOLD),
    ],
)
def test_a_segment_that_no_delimiter_can_have_ended_is_refused(
    before: tuple[int, ...], tokens: int, end: EndKind | None
) -> None:
    state, start = growing()
    for earlier in before:
        report(state, start, earlier)
    with pytest.raises(BrokenInvariant, match=r"TreeWellFormed.*its boundary is 105"):
        report(state, start, tokens, end)

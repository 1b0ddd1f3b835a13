"""Prune policies: when a path ends."""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from treeroll.policy.base import Ended, Limits, Segment, Verdict
from treeroll.testing.case import LIMITS, Case
from treeroll.tree.node import NodeStatus, StopReason, Tokens

TEXTS: Final = ("", "2 + 2 = 4", "\\boxed{4}", "}{\\boxed{{", "again and " * 100, "\x00\ud800")
TAILS: Final = ("", "the answer is \\bo")
# Log probabilities and entropies of paths, over and over: sure, unsure, and less and less sure.
SURE: Final = ((0.0,), (0.0,))
UNSURE: Final = ((-4.0, -1.0), (4.0, 6.0))
LOSING: Final = ((0.0, -0.1, -0.3, -0.7, -1.5, -3.0), (0.0, 0.3, 0.9, 2.1, 4.5, 8.0))


@dataclass(frozen=True, slots=True)
class Shown:
    """What a policy is shown of a path, to make as often as somebody is to see it unchanged."""

    text: str
    tail: str
    ended: Ended
    before: int
    own: int
    depth: int
    stream: tuple[tuple[float, ...], tuple[float, ...]] | None

    def segment(self) -> Segment:
        """A segment of `own` tokens behind `before` others, with tokens if there is a stream of them."""
        segment = Segment(self.text, self.tail, self.ended, self.before + self.own, self.depth)
        if self.stream is not None:
            segment.tokens = self._tokens(self.before, self.before + self.own)
            segment.recent = self._recent
        return segment

    def _recent(self, count: int) -> Tokens:
        return self._tokens(max(0, self.before - count), self.before)

    def _tokens(self, begin: int, end: int) -> Tokens:
        logprobs, entropies = self.stream or SURE
        places = range(begin, end)
        return Tokens(
            array("i", (10 + place % 7 for place in places)),
            array("f", (logprobs[place % len(logprobs)] for place in places)),
            array("f", (entropies[place % len(entropies)] for place in places)),
        )


def check_prune_policy(policy: Any, params: Mapping[str, object] | None = None, limits: Limits = LIMITS) -> None:
    """Try a prune policy class.

    Checked: its shape; verdicts depend on the segment only, which is left alone; a path that the engine has ended gets
    a verdict; a verdict ends the path, as leaf or pruned, for a reason. A policy that reads tokens is shown them, of
    paths whose model is sure, unsure, or less and less sure.

    Raises:
        NotConformant: a promise is broken.
    """
    case = Case.of("prune", policy, params, limits)
    used = case.build()
    for shown in _paths(limits, used.needs.tokens):
        verdict = used.judge(shown.segment())
        segment = shown.segment()
        again = case.build().judge(segment)
        case.require(_seen(segment) == _seen(shown.segment()), "ReadsOnly", "changes the segment it is shown")
        case.require(verdict == again, "Pure", f"judges {shown} as {verdict} and as {again}")
        _check(case, shown, verdict)


def _paths(limits: Limits, reads_tokens: bool) -> Iterator[Shown]:
    streams = (SURE, UNSURE, LOSING) if reads_tokens else (None,)
    for text, tail, ended, depth in product(TEXTS, TAILS, Ended, range(1, limits.max_depth + 1)):
        before = min((depth - 1) * limits.segment_tokens, limits.max_tokens - 1)
        own = min(limits.segment_tokens, limits.max_tokens - before)
        for stream in streams:
            yield Shown(text, tail, ended, before, own, depth, stream)


def _seen(segment: Segment) -> tuple[object, ...]:
    """A segment, but for the function that looks back."""
    return segment.text, segment.tail, segment.ended, segment.completion_tokens, segment.depth, segment.tokens


def _check(case: Case, shown: Shown, verdict: Verdict | None) -> None:
    if verdict is None:
        case.require(shown.ended is Ended.NO, "Verdict", f"lets {shown} go on, which the engine has ended")
        return
    ends = isinstance(verdict, Verdict) and verdict.status in (NodeStatus.LEAF, NodeStatus.PRUNED)
    case.require(ends, "Verdict", f"judges {shown} as {verdict}, which does not end the path")
    reasoned = isinstance(verdict.reason, StopReason) and verdict.reason is not StopReason.NONE
    case.require(reasoned, "Verdict", f"judges {shown} as {verdict}, which gives no reason")
    case.check_why(verdict.why, f"judges {shown} as {verdict}")

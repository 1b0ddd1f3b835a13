"""Prune policies: when a path ends."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any, Final

from treeroll.core.tree import NodeStatus, StopReason
from treeroll.policies.base import Ended, Limits, Segment, Verdict
from treeroll.testing.case import LIMITS, Case

TEXTS: Final = ("", "2 + 2 = 4", "\\boxed{4}", "}{\\boxed{{", "again and " * 100, "\x00\ud800")
TAILS: Final = ("", "the answer is \\bo")


def check_prune_policy(policy: Any, params: Mapping[str, object] | None = None, limits: Limits = LIMITS) -> None:
    """Try a prune policy class.

    Checked: its shape; verdicts depend on the segment only, which is left alone; a path that the engine has ended gets
    a verdict; a verdict ends the path, as leaf or pruned, for a reason.

    Raises:
        NotConformant: a promise is broken.
    """
    case = Case.of("prune", policy, params, limits)
    used = case.build()
    for text, tail, ended, depth in product(TEXTS, TAILS, Ended, range(1, limits.max_depth + 1)):
        tokens = min(depth * limits.segment_tokens, limits.max_tokens)
        segment = Segment(text, tail, ended, tokens, depth)
        verdict = used.judge(replace(segment))
        shown = replace(segment)
        again = case.build().judge(shown)
        case.require(shown == segment, "ReadsOnly", "changes the segment it is shown")
        case.require(verdict == again, "Pure", f"judges {segment} as {verdict} and as {again}")
        _check(case, segment, verdict)


def _check(case: Case, segment: Segment, verdict: Verdict | None) -> None:
    if verdict is None:
        case.require(segment.ended is Ended.NO, "Verdict", f"lets {segment} go on, which the engine has ended")
        return
    ends = isinstance(verdict, Verdict) and verdict.status in (NodeStatus.LEAF, NodeStatus.PRUNED)
    case.require(ends, "Verdict", f"judges {segment} as {verdict}, which does not end the path")
    reasoned = isinstance(verdict.reason, StopReason) and verdict.reason is not StopReason.NONE
    case.require(reasoned, "Verdict", f"judges {segment} as {verdict}, which gives no reason")

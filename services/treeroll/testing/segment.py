"""Segment policies: where boundaries may fall."""

from collections.abc import Mapping
from itertools import pairwise, product
from typing import Any, Final

from treeroll.policy.base import Delimiter, Limits
from treeroll.testing.case import LIMITS, Case, declares

PROMPTS: Final = (1, 15, 16, 17, 100)
BLOCKS: Final = (0, 1, 16, 32)
# Context lengths: smaller than a prompt, equal, one token more, small, more than enough.
ROOM: Final = (-1, 0, 1, 40, 100_000)


def check_segment_policy(policy: Any, params: Mapping[str, object] | None = None, limits: Limits = LIMITS) -> None:
    """Try a segment policy class.

    Checked: its shape; boundaries depend on their arguments only, ascend from the prompt, are at most `max_depth` and
    no more than with blocks of one token, and never pass prompt + `max_tokens` or the context; there are some exactly
    when there is room for a token. With a delimiter they are all the longest total. With a tool, remarks depend on the
    number of the call only, are declared, and end no call.

    Raises:
        NotConformant: a promise is broken.
    """
    case = Case.of("segment", policy, params, limits)
    used = case.build()
    case.require(isinstance(used.hold, bool), "Shape", f"has hold {used.hold!r}, which is no bool")
    _check_delimiter(case, used.delimiter)
    if used.tool is not None:
        _check_remarks(case, used)
    most = len(used.boundaries(1, 1, 1 + limits.max_tokens))
    for prompt, block, room in product(PROMPTS, BLOCKS, ROOM):
        arguments = (prompt, block, prompt + room)
        totals = used.boundaries(*arguments)
        _check(case, arguments, totals, used.delimiter is not None)
        again = case.build().boundaries(*arguments)
        case.require(again == totals, "Pure", f"gives {totals} and {again} for the same {arguments}")
        case.require(len(totals) <= most, "Depth", f"gives {totals} for {arguments}, and {most} with blocks of one")


def _check_delimiter(case: Case, delimiter: object) -> None:
    if delimiter is None:
        return
    case.require(isinstance(delimiter, Delimiter), "Shape", f"has delimiter {delimiter!r}, which is no Delimiter")
    kept = isinstance(delimiter, Delimiter) and (delimiter.texts or delimiter.token_ids) and "" not in delimiter.texts
    case.require(bool(kept), "Shape", f"has delimiter {delimiter!r}, which is empty or has an empty text")


def _check_remarks(case: Case, policy: Any) -> None:
    for calls in range(1, len(policy.boundaries(1, 1, 1 + case.limits.max_tokens))):
        remark, again = policy.remark(calls), case.build().remark(calls)
        case.require(remark == again, "Pure", f"says {remark!r} and {again!r} behind the same call {calls}")
        kept = isinstance(remark, str) and policy.tool.call_end not in remark
        case.require(kept, "Remark", f"says {remark!r} behind call {calls}, which is no text or ends a call")
        declared = declares(policy.needs, remark)
        case.require(declared, "Remark", f"says {remark!r} behind call {calls} and does not have it in needs.inserts")


def _check(case: Case, arguments: tuple[int, int, int], totals: list[int], delimited: bool) -> None:
    prompt, _, context = arguments
    cap = min(prompt + case.limits.max_tokens, context)
    said = f"gives {totals} for prompt_tokens, block_size, max_model_len {arguments}"
    case.require(bool(totals) == (cap > prompt), "Room", f"{said}: there are boundaries exactly if there is room")
    integers = all(isinstance(total, int) for total in totals)
    if delimited:
        case.require(integers and set(totals) <= {cap}, "Longest", f"{said}, which are not all the longest total {cap}")
    else:
        ascending = integers and all(a < b for a, b in pairwise([prompt, *totals]))
        case.require(ascending, "Ascending", f"{said}, which do not ascend from the prompt")
    case.require(not totals or totals[-1] <= cap, "Room", f"{said}, beyond {cap}")
    depth = case.limits.max_depth
    case.require(len(totals) <= depth, "Depth", f"{said}, more than max_depth {depth}")

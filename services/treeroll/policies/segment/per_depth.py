"""Segments whose length depends on their depth."""

from itertools import accumulate
from typing import Annotated, ClassVar

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policies.segment.align import align
from treeroll.policy import base
from treeroll.policy.base import Limits
from treeroll.policy.needs import Needs


class PerDepth:
    """Segment k has `tokens[k - 1]` tokens; after the list comes, with `last_free`, one segment to the end of the path.

    SPO-tree has depth 3 with tokens M, M and a free last level (M 30 for GSM8K, 600 for long MATH answers). Boundaries
    are moved up to 1 modulo the engine's KV block size as those of `fixed` are; the paper cuts at exact counts, which
    is `aligned=False`.

    Ours: a path never passes prompt + max_tokens or the engine's context length, a free segment neither; a list of
    which some entry could never be reached is refused.
    """

    name: ClassVar[str] = "per_depth"
    summary: ClassVar[str] = "a list of segment lengths by depth, the last segment free"
    paper: ClassVar[str] = "SPO, arXiv 2505.23564; the alignment is ours"
    needs: ClassVar[Needs] = Needs()

    class Params(base.Params):
        """How long segments are at each depth, and whether branches wait at their ends."""

        tokens: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
            None, description="tokens at depth 1, 2, ...; none is segment_tokens at each of max_depth depths"
        )
        last_free: bool = Field(True, description="the last segment runs to the limit; it comes after the list")
        hold: bool = Field(False, description="end each branch at a boundary and wait for a decision")
        aligned: bool = Field(True, description="move boundaries up to 1 modulo the KV block size")

    delimiter = None
    tool = None

    def __init__(self, params: Params, limits: Limits) -> None:
        self.hold = params.hold
        self._aligned = params.aligned
        self._last_free = params.last_free
        self._max_tokens = limits.max_tokens
        self._tokens = params.tokens
        if self._tokens is None:
            self._tokens = (limits.segment_tokens,) * (limits.max_depth - params.last_free)
        else:
            _check(self._tokens, params.last_free, limits)

    def boundaries(self, prompt_tokens: int, block_size: int, max_model_len: int) -> list[int]:
        """Totals where segments end, strictly ascending; empty if the prompt leaves no room for a token."""
        cap = min(prompt_tokens + self._max_tokens, max_model_len)
        wanted = list(accumulate(self._tokens or (), initial=prompt_tokens))[1:]
        if self._last_free:
            wanted.append(cap)
        return align(wanted, prompt_tokens, max(block_size, 1) if self._aligned else 1, cap)


def _check(tokens: tuple[int, ...], last_free: bool, limits: Limits) -> None:
    depths = len(tokens) + last_free
    what = f"{len(tokens)} tokens entries and a free last segment" if last_free else f"{len(tokens)} tokens entries"
    if depths == 0:
        raise InvalidInput("segment policy 'per_depth': tokens is empty and last_free is off; set one of them")
    if depths > limits.max_depth:
        raise InvalidInput(
            f"segment policy 'per_depth': {what} make {depths} segments, above max_depth {limits.max_depth}; "
            "shorten tokens or raise max_depth"
        )
    before = sum(tokens if last_free else tokens[:-1])
    if before >= limits.max_tokens:
        raise InvalidInput(
            f"segment policy 'per_depth': the segments before the last take {before} tokens, so none is left of "
            f"max_tokens {limits.max_tokens} for it; lower tokens or raise max_tokens"
        )

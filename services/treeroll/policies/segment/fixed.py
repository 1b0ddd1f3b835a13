"""Segments of a fixed number of tokens."""

from typing import ClassVar

from pydantic import Field

from treeroll.policies.segment.align import align
from treeroll.policy import base
from treeroll.policy.base import Limits
from treeroll.policy.needs import Needs


class FixedTokens:
    """Boundaries every `segment_tokens` tokens, each moved up to where a fork recomputes one token only.

    Boundary k is the smallest total length >= prompt + k * segment_tokens that is 1 modulo the engine's KV block size
    (a prefix-cache hit covers whole blocks up to the last token but one; design section 5). TreePO itself cuts at
    exactly k * segment_tokens: that is `aligned=False`, for experiments only.

    Ours: where segment_tokens is smaller than a block, boundaries still advance one block each; and the last boundary
    is cut off at prompt + max_tokens or the engine's context length, aligned or not.
    """

    name: ClassVar[str] = "fixed"
    summary: ClassVar[str] = "boundaries every segment_tokens tokens, aligned to the engine's KV blocks"
    paper: ClassVar[str] = "TreePO, arXiv 2508.17445, section 2.2; the alignment is ours"
    needs: ClassVar[Needs] = Needs()

    class Params(base.Params):
        """How boundaries are cut, and whether branches wait there."""

        hold: bool = Field(False, description="end each branch at a boundary and wait for a decision")
        aligned: bool = Field(True, description="move boundaries up to 1 modulo the KV block size")

    delimiter = None
    tool = None

    def __init__(self, params: Params, limits: Limits) -> None:
        self.hold = params.hold
        self._aligned = params.aligned
        self._limits = limits

    def boundaries(self, prompt_tokens: int, block_size: int, max_model_len: int) -> list[int]:
        """Totals where segments end, strictly ascending; empty if the prompt leaves no room for a token."""
        limits = self._limits
        cap = min(prompt_tokens + limits.max_tokens, max_model_len)
        wanted = (prompt_tokens + k * limits.segment_tokens for k in range(1, limits.max_depth + 1))
        return align(wanted, prompt_tokens, max(block_size, 1) if self._aligned else 1, cap)

"""Segments that end where their content says so."""

from typing import Annotated, ClassVar

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policy import base
from treeroll.policy.base import Delimiter, Limits
from treeroll.policy.needs import Needs

MAX_DELIMITERS = 16
Text = Annotated[str, Field(min_length=1, max_length=32)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class Delimited:
    r"""A segment ends with the token that completes one of `texts` or is one of `token_ids`, which belongs to it.

    IB-TPO's reasoning steps are what lies between blank lines: that is the default, "\n\n". A path has at most
    max_depth segments, and the last of them runs to the end of the path, as does one in which no delimiter comes.
    `segment_tokens` bounds nothing, though TreePO's token cap and fallback window take it for the usual length of a
    segment. What ends a text and padding have no text: name them by their ids.

    Ours: a text counts only where other than white space is before it in its segment, so that no step is blank; where a
    token holds a text and more, all of it is in the segment; a delimiter that would straddle two segments is none.

    Such boundaries are not aligned to the engine's KV blocks, so a fork recomputes up to one block. Segments may be
    shorter than what an engine decodes between two answers of the coordinator, so a branch has more of them as credit.
    """

    name: ClassVar[str] = "delimiter"
    summary: ClassVar[str] = "boundaries after given texts or tokens, such as blank lines"
    paper: ClassVar[str] = "IB-TPO, arXiv 2605.28109"
    needs: ClassVar[Needs] = Needs()

    class Params(base.Params):
        """What ends a segment, and whether branches wait there."""

        texts: tuple[Text, ...] = Field(
            ("\n\n",), max_length=MAX_DELIMITERS, description="texts that end a segment, of 32 characters at most"
        )
        token_ids: tuple[TokenId, ...] = Field((), max_length=MAX_DELIMITERS, description="tokens that end a segment")
        hold: bool = Field(False, description="end each branch at a boundary and wait for a decision")

    tool = None

    def __init__(self, params: Params, limits: Limits) -> None:
        if not params.texts and not params.token_ids:
            raise InvalidInput("segment policy 'delimiter': texts and token_ids are both empty; name a delimiter")
        if limits.max_depth == 1:
            raise InvalidInput(
                "segment policy 'delimiter': with max_depth 1 the first segment is the last, which no delimiter ends; "
                "raise max_depth or use segment policy 'full_rollout'"
            )
        self.hold = params.hold
        self.delimiter = Delimiter(params.texts, params.token_ids)
        self._limits = limits

    def boundaries(self, prompt_tokens: int, block_size: int, max_model_len: int) -> list[int]:
        """The longest total for each segment a path may have; empty if the prompt leaves no room for a token."""
        cap = min(prompt_tokens + self._limits.max_tokens, max_model_len)
        return [cap] * self._limits.max_depth if cap > prompt_tokens else []

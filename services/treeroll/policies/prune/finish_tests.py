"""TreePO's tests for the end of a path: answer, end of sequence, limits, repetition (release rules)."""

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policies.prune.repetition import repeats
from treeroll.policy import base
from treeroll.policy.base import Ended, Limits, Segment, Verdict
from treeroll.policy.needs import Needs
from treeroll.tree.node import NodeStatus, StopReason
from treeroll.why import Why, because

# Looked up for every segment, see node.LEAF.
EOS, LIMIT = Ended.EOS, Ended.LIMIT

# \boxed{...} with up to two nested levels of braces. Possessive, so hostile text cannot make it backtrack.
_BRACES = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*+\})*+\})*+\}"
BOXED = re.compile(r"\\boxed" + _BRACES)


class FinishTests:
    """Ends a path at the first test that holds, in the published order.

    1 repetition (if `repetition=first`); 2 a complete boxed answer (`boxed_as_eos`: alone, `boxed_and_eos_first`: if
    the path also ended with EOS); 3 EOS; 4 completion length >= max_tokens; 5 the last boundary; 6 repetition (if
    `repetition=last`). A repetition leaf stays a sample. A path that ends below `min_tokens` is discarded: it is
    pruned, no sample, and does not count towards the width.

    Ours: the answer is looked for in the segment and the text before it, so one that straddles a boundary is found; but
    one that lies wholly before the segment does not end the path again, except that EOS completes
    `boxed_and_eos_first`. EOS is what the engine reports, not a search for its token. A path cut off by the engine's
    context length before its last segment ends with reason LENGTH.
    """

    name: ClassVar[str] = "finish_tests"
    summary: ClassVar[str] = "answer, EOS, limits and repetition, in TreePO's order"
    paper: ClassVar[str] = "TreePO, arXiv 2508.17445, section 2.2 and its release"
    explains: ClassVar[Mapping[str, str]] = {
        "finish.answer": "its answer is there after {tokens} tokens",
        "finish.eos": "the model ended the text after {tokens} tokens",
        "finish.length": "it has {tokens} tokens of at most {most}, or the context has no more room, at depth {depth}",
        "finish.depth": "it has {depth} segments of at most {most}, and {tokens} tokens",
        "finish.repetition": "{chars} characters come {count} times or more in its last segment, after {tokens} tokens",
        "finish.short": "it ended after {tokens} tokens, and paths of fewer than {min_tokens} are discarded",
    }
    needs: Needs = Needs()

    class Params(base.Params):
        """Which tests run, and their thresholds."""

        boxed: Literal["boxed_as_eos", "boxed_and_eos_first", "off"] = Field(
            "boxed_as_eos", description="whether a boxed answer ends a path, alone or with EOS"
        )
        repetition: Literal["first", "last", "off"] = Field("last", description="when repetition is tested")
        repetition_chars: int = Field(32, ge=1, le=1024, description="length of the repeated substring")
        repetition_count: int = Field(8, ge=2, description="occurrences within one segment that end the path")
        min_tokens: int = Field(0, ge=0, description="shorter completions are discarded")

    def __init__(self, params: Params, limits: Limits) -> None:
        if params.min_tokens > limits.max_tokens:
            raise InvalidInput(
                f"prune policy '{self.name}': min_tokens {params.min_tokens} is above max_tokens "
                f"{limits.max_tokens}, so every path would be discarded; lower min_tokens"
            )
        self._params = params
        self._limits = limits

    @property
    def min_tokens(self) -> int:
        """Completion tokens below which a path is discarded."""
        return self._params.min_tokens

    def judge(self, segment: Segment) -> Verdict | None:
        """None: the path goes on."""
        reason = self._reason(segment)
        return None if reason is None else self._ended(segment, reason, self._why(reason, segment))

    def _ended(self, segment: Segment, reason: StopReason, why: Why) -> Verdict:
        """A test holds: short paths are discarded."""
        if segment.completion_tokens < self._params.min_tokens:
            why = because("finish.short", tokens=segment.completion_tokens, min_tokens=self._params.min_tokens)
            return Verdict(NodeStatus.PRUNED, StopReason.MIN_LENGTH, why)
        return Verdict(NodeStatus.LEAF, reason, why)

    def _why(self, reason: StopReason, segment: Segment) -> Why:
        tokens = segment.completion_tokens
        if reason is StopReason.LENGTH:
            most = segment.max_tokens or self._limits.max_tokens
            return because("finish.length", tokens=tokens, most=most, depth=segment.depth)
        if reason is StopReason.DEPTH:
            return because("finish.depth", depth=segment.depth, most=self._limits.max_depth, tokens=tokens)
        if reason is StopReason.REPETITION:
            chars, count = self._params.repetition_chars, self._params.repetition_count
            return because("finish.repetition", chars=chars, count=count, tokens=tokens)
        return because("finish.answer" if reason is StopReason.ANSWER else "finish.eos", tokens=tokens)

    def _reason(self, segment: Segment) -> StopReason | None:
        if self._params.repetition == "first" and self._repeats(segment):
            return StopReason.REPETITION
        if self._answered(segment):
            return StopReason.ANSWER
        if segment.ended is EOS:
            return StopReason.EOS
        if segment.ended is LIMIT:
            return self._limit(segment)
        if self._params.repetition == "last" and self._repeats(segment):
            return StopReason.REPETITION
        return None

    def _repeats(self, segment: Segment) -> bool:
        return repeats(segment.text, self._params.repetition_chars, self._params.repetition_count)

    def _answered(self, segment: Segment) -> bool:
        if "}" not in segment.text and segment.ended is not EOS:
            return False
        text = segment.tail + segment.text
        match self._params.boxed:
            case "boxed_as_eos":
                return any(found.end() > len(segment.tail) for found in BOXED.finditer(text))
            case "boxed_and_eos_first":
                return segment.ended is EOS and BOXED.search(text) is not None
            case "off":
                return False

    def _limit(self, segment: Segment) -> StopReason:
        full = segment.completion_tokens >= (segment.max_tokens or self._limits.max_tokens)
        return StopReason.LENGTH if full or segment.depth < self._limits.max_depth else StopReason.DEPTH

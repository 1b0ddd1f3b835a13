"""Text that nobody sampled: what tools that the core may ask say, and what policies insert."""

import numpy as np

from treeroll.tokenizer import Tokenizer
from treeroll.tools.base import Tool
from treeroll.tree.node import Observation


class ToolRunner:
    """Has tools answer, and tokenises what they say. Pure, as they are: the core asks in the middle of a step."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        tokenizer.encode_continuation("")  # what encodes is made when it is first used: not in the middle of a step

    def __call__(self, tool: Tool, text: str, remark: str) -> Observation:
        """The tool's answer to the call that the text ends with, and the remark behind it."""
        return self.encode(tool.answer(text) + remark)

    def encode(self, text: str) -> Observation:
        """The text as tokens."""
        return Observation(np.asarray(self._tokenizer.encode_continuation(text), "<i4").tobytes(), text)

"""One completion as it grows: sampled tokens, and the answers of a tool between them."""

from dataclasses import dataclass, field

from treeroll.tools.base import Tool

from .tokenizer import decode, encode


@dataclass
class Completion:
    """What a model wrote and read after a prompt."""

    ids: list[int] = field(default_factory=list)
    calls: int = 0
    unread: list[int] = field(default_factory=list)  # of the last observation

    def append(self, sampled: int, tool: Tool | None) -> int:
        """Adds one token and returns it: the next of an observation if there is one, else the sampled one."""
        if self.unread:
            self.ids.append(self.unread.pop(0))
        else:
            self.ids.append(sampled)
            self._answer_call(tool)
        return self.ids[-1]

    def _answer_call(self, tool: Tool | None) -> None:
        text = decode(self.ids)
        if tool is not None and text.endswith(tool.call_end):
            self.unread = encode(tool.answer(text))
            self.calls += 1

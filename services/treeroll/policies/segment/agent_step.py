"""Agent steps: a segment ends with a call of a tool, whose observation it takes in."""

from typing import ClassVar

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policies import base
from treeroll.policies.base import Delimiter, Limits
from treeroll.tools import registry as tools


class AgentStep:
    """A step is thought, call and observation: it ends where a call does, and the tool's answer is appended to it.

    Branches wait there (hold), because what the model would go on to write has not seen the answer. Answers are no
    samples: they are masked in training, and count as length, not as generated tokens. A path has at most max_depth
    steps; in the last one calls are not answered, so a run allows max_depth - 1 of them. A step without a call runs to
    the end of the path, as does one whose answer leaves no room to go on. `segment_tokens` does not apply.

    ARPO and Tree-GRPO branch where such steps end. Ours: calls are found by the text that ends them, in whatever the
    model writes; tools are pure functions that answer at once.
    """

    name: ClassVar[str] = "agent_step"
    summary: ClassVar[str] = "a step ends with a call of a tool, and takes in its answer"
    paper: ClassVar[str] = "Tree-GRPO, arXiv 2509.21240; ARPO, arXiv 2507.19849"

    class Params(base.Params):
        """Which tool."""

        tool: str = Field("calculator", max_length=64, description="who answers: see `treeroll policies`")

    hold = True

    def __init__(self, params: Params, limits: Limits) -> None:
        if limits.max_depth == 1:
            raise InvalidInput(
                "segment policy 'agent_step': with max_depth 1 the first step is the last, in which no call is "
                "answered; raise max_depth or use segment policy 'full_rollout'"
            )
        self.tool = tools.get(params.tool)
        self.delimiter = Delimiter((self.tool.call_end,), ())
        self._limits = limits

    def boundaries(self, prompt_tokens: int, block_size: int, max_model_len: int) -> list[int]:
        """The longest total for each step a path may have; empty if the prompt leaves no room for a token."""
        cap = min(prompt_tokens + self._limits.max_tokens, max_model_len)
        return [cap] * self._limits.max_depth if cap > prompt_tokens else []

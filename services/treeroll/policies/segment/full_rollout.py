"""No boundaries: a branch decodes to its end."""

from typing import ClassVar

from treeroll.policy import base
from treeroll.policy.base import Limits
from treeroll.policy.needs import Needs


class FullRollout:
    """One segment per path, from the prompt to prompt + max_tokens or the engine's context length.

    Nothing can fork on the way, so every path of a tree begins at the prompt: flat sampling, or the first wave of
    policies that cut finished answers. `segment_tokens` and `max_depth` do not apply.
    """

    name: ClassVar[str] = "full_rollout"
    summary: ClassVar[str] = "one segment to the end of the path; nothing can fork on the way"
    paper: ClassVar[str] = "GRPO sampling, DeepSeekMath, arXiv 2402.03300"
    needs: ClassVar[Needs] = Needs()

    class Params(base.Params):
        """Nothing to set."""

    hold = False
    delimiter = None
    tool = None

    def __init__(self, params: Params, limits: Limits) -> None:
        self._max_tokens = limits.max_tokens

    def boundaries(self, prompt_tokens: int, block_size: int, max_model_len: int) -> list[int]:
        """The longest total, alone; empty if the prompt leaves no room for a token."""
        cap = min(prompt_tokens + self._max_tokens, max_model_len)
        return [cap] if cap > prompt_tokens else []

"""Agent steps: a segment ends with a call of a tool, whose observation it takes in."""

from typing import ClassVar, Final

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policies.segment.turns import HIGH, LOW, MEDIUM, Turns, check_template
from treeroll.policy import base
from treeroll.policy.base import Delimiter, Limits
from treeroll.policy.needs import Needs
from treeroll.tools import registry as tools

# More calls than any path will make: a remark about so many has every digit.
EVERY_DIGIT: Final = 1234567890


class AgentStep:
    """A step is thought, call and observation: it ends where a call does, and the tool's answer is appended to it.

    Branches wait there (hold), because what the model would go on to write has not seen the answer. Answers are no
    samples: they are masked in training, and count as length, not as generated tokens. A path has at most max_depth
    steps; in the last one calls are not answered, so a run allows max_depth - 1 of them. A step without a call runs to
    the end of the path, as does one whose answer leaves no room to go on. `segment_tokens` does not apply.

    ARPO and Tree-GRPO branch where such steps end. Ours: calls are found by the text that ends them, in whatever the
    model writes; tools are pure functions that answer at once.

    `turn_cap` allows fewer calls, and `turn_extension` so many more, once, to a path that is not finished by then: one
    that calls again. Behind the last answer there always is a step without calls, for the final answer. Turn control
    recommends the 75th percentile of the turns that an unrestricted agent took, or less and one extension (as its
    abstract and others' notes have it). Without `budget_text` a model cannot know of its cap, and cap and extension are
    one cap of their sum.

    With `budget_text` every answer is followed by that line, as part of the observation, about the path's calls:
    {used} of them, {left} of its cap, and a {regime} by the share that is left: HIGH from `high` on, MEDIUM from
    `medium` on, else LOW. BATS has 0.7 and 0.3 (as others' notes have it). Ours: the words; the shares are of one
    path's calls, never of a whole run's budget, which would make trees depend on what else runs.
    """

    name: ClassVar[str] = "agent_step"
    summary: ClassVar[str] = "a step ends with a call of a tool, and takes in its answer"
    paper: ClassVar[str] = (
        "Tree-GRPO, arXiv 2509.21240; ARPO, arXiv 2507.19849; turn control, arXiv 2510.16786; BATS, arXiv 2511.17006"
    )

    class Params(base.Params):
        """Which tool, how many calls, and what is said about them."""

        tool: str = Field("calculator", max_length=64, description="who answers: see `treeroll policies`")
        turn_cap: int | None = Field(None, ge=1, description="calls that a path may make; none: max_depth - 1")
        turn_extension: int = Field(0, ge=0, description="calls beyond turn_cap, once, for a path that calls again")
        budget_text: str = Field(
            "", max_length=128, description="line behind every answer, with {used}, {left} and {regime}; empty: none"
        )
        high: float = Field(0.7, ge=0, le=1, description="share of calls left from which the regime is HIGH")
        medium: float = Field(0.3, ge=0, le=1, description="share of calls left from which it is MEDIUM, below LOW")

    hold = True

    def __init__(self, params: Params, limits: Limits) -> None:
        if limits.max_depth == 1:
            raise InvalidInput(
                "segment policy 'agent_step': with max_depth 1 the first step is the last, in which no call is "
                "answered; raise max_depth or use segment policy 'full_rollout'"
            )
        self.tool = tools.get(params.tool)
        self.delimiter = Delimiter((self.tool.call_end,), ())
        self.turns = _turns(params, limits)
        self._params = params
        self._limits = limits
        _check_text(params, self.tool.call_end)

    def boundaries(self, prompt_tokens: int, block_size: int, max_model_len: int) -> list[int]:
        """The longest total for each step a path may have; empty if the prompt leaves no room for a token."""
        cap = min(prompt_tokens + self._limits.max_tokens, max_model_len)
        return [cap] * (self.turns.most + 1) if cap > prompt_tokens else []

    def remark(self, calls: int) -> str:
        """What follows the answer to a path's `calls`-th call."""
        if not self._params.budget_text:
            return ""
        return self._remark(calls, self.turns.left(calls), self.turns.share(calls))

    @property
    def needs(self) -> Needs:
        """Remarks with every character that any may have."""
        shares = (1.0, self._params.medium, 0.0) if self._params.budget_text else ()
        return Needs(inserts=tuple(self._remark(EVERY_DIGIT, EVERY_DIGIT, share) for share in shares))

    def _remark(self, used: int, left: int, share: float) -> str:
        regime = HIGH if share >= self._params.high else MEDIUM if share >= self._params.medium else LOW
        return self._params.budget_text.format(used=used, left=left, regime=regime) + "\n"


def _turns(params: AgentStep.Params, limits: Limits) -> Turns:
    """Calls of a path; InvalidInput if max_depth has no steps for them."""
    answered = limits.max_depth - 1
    if params.turn_cap is None:
        if params.turn_extension:
            raise InvalidInput(
                f"segment policy 'agent_step': turn_extension {params.turn_extension} extends turn_cap, which is none; "
                "set turn_cap"
            )
        return Turns(answered)
    turns = Turns(params.turn_cap, params.turn_extension)
    if turns.most > answered:
        raise InvalidInput(
            f"segment policy 'agent_step': turn_cap {turns.cap} and turn_extension {turns.extension} allow "
            f"{turns.most} calls, max_depth {limits.max_depth} allows {answered} and the final answer; raise max_depth "
            "or lower turn_cap"
        )
    return turns


def _check_text(params: AgentStep.Params, call_end: str) -> None:
    where = f"segment policy 'agent_step': budget_text {params.budget_text!r}"
    check_template(params.budget_text, where)
    if call_end in params.budget_text:
        raise InvalidInput(
            f"{where} contains {call_end!r}, which ends a call of tool '{params.tool}'; write it without"
        )
    if params.medium > params.high:
        raise InvalidInput(
            f"segment policy 'agent_step': medium {params.medium:g} is above high {params.high:g}, so the regime would "
            "never be MEDIUM; lower medium"
        )

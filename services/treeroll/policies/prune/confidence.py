"""ECHO's prune tests: a path ends where the model has lost its confidence (arXiv 2602.02150, by its release)."""

from collections.abc import Mapping
from itertools import chain
from typing import ClassVar

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policies import signals
from treeroll.policies.prune.finish_tests import FinishTests
from treeroll.policy.base import Limits, Segment, Verdict
from treeroll.policy.needs import Needs
from treeroll.tree.node import NodeStatus, StopReason
from treeroll.why import Why, because

UNSURE = (StopReason.LOW_CONFIDENCE, StopReason.TAIL_DECLINE, StopReason.ENTROPY_SPIKE)


class Confidence(FinishTests):
    """The tests of `finish_tests`, and before them three that read tokens; the first that holds gives the reason.

    1 LOW_CONFIDENCE: the group confidence, the mean confidence of the last `group_window` tokens, is below
    `min_confidence`. 2 TAIL_DECLINE: that of the last `tail_window` has fallen with each of `decline_steps` tokens and
    is at most `decline_confidence`. 3 ENTROPY_SPIKE: each of `spike_steps` tokens has an entropy above the mean of the
    `entropy_window` before it, the last by more than `spike`. Any of them may be left out (none). A test holds for a
    segment if it holds at any of its tokens; windows reach back along the path, to its beginning at most.

    Windows, steps, `spike` and the choice of tests are the release's. Ours: the confidence of a token, the probability
    with which it was sampled, because a record holds no candidates; and so its thresholds, an eighth of the release's
    0.4 and 1.0: over windows this short a higher one ends paths at every unlikely word. Entropies are upper bounds,
    from the `top_logprobs` that the run must ask for.

    The release decodes whole answers and cuts their text off afterwards. Ours: paths are judged when a segment has
    ended, and end with it, so short segments save tokens and one segment as long as the path saves none. What fails a
    test comes before the segment's end, so these tests go first: an answer that follows in the same segment does not
    count, as it would never have been written. A leaf is the default because the release keeps what it cuts.
    """

    name: ClassVar[str] = "confidence"
    summary: ClassVar[str] = "finish_tests, and an end to paths where the model is unsure"
    paper: ClassVar[str] = "ECHO, arXiv 2602.02150, its release"
    explains: ClassVar[Mapping[str, str]] = {
        **FinishTests.explains,
        "confidence.low": "the mean confidence of {window} tokens fell to {confidence}, below {least}",
        "confidence.decline": "the tail's confidence fell with each of {streak} tokens ({steps} are enough), to "
        "{confidence}, {most} or less",
        "confidence.spike": "entropies were above those before at {streak} tokens in a row ({steps} are enough), "
        "the last by {rise}, more than {spike}",
    }

    class Params(FinishTests.Params):
        """Which tests run, and their thresholds."""

        group_window: int = Field(4, ge=1, le=4096, description="tokens in a group confidence")
        min_confidence: float | None = Field(0.05, gt=0, le=1, description="a lower group confidence ends the path")
        tail_window: int = Field(8, ge=1, le=4096, description="tokens in a tail confidence")
        decline_steps: int = Field(3, ge=1, le=1024, description="tokens in a row at which tail confidence falls")
        decline_confidence: float | None = Field(
            0.125, gt=0, le=1, description="a tail confidence that falls ends the path from here on"
        )
        entropy_window: int = Field(4, ge=1, le=4096, description="tokens that an entropy is compared with")
        spike_steps: int = Field(3, ge=1, le=1024, description="tokens in a row with entropies above those before")
        spike: float | None = Field(0.5, ge=0, description="how far above, in nats, the last of them is")
        keep_as_leaf: bool = Field(True, description="whether such a path stays a sample, or is discarded")

    def __init__(self, params: Params, limits: Limits) -> None:
        super().__init__(params, limits)
        self._tests = params
        # By test: tokens in a row that it looks at, and how far each of them looks back.
        tests = {
            "min_confidence": (1, params.group_window - 1),
            "decline_confidence": (params.decline_steps, params.tail_window),
            "spike": (params.spike_steps, params.entropy_window),
        }
        asked = {test: reach for test, reach in tests.items() if getattr(params, test) is not None}
        if not asked:
            raise InvalidInput(
                f"prune policy 'confidence': {', '.join(tests)} are all none, so no test is left; set one of them or "
                "use prune policy 'finish_tests'"
            )
        for test, (steps, _) in asked.items():
            # Nothing falls or rises at the first token.
            if test != "min_confidence" and steps + 1 > limits.max_tokens:
                raise InvalidInput(
                    f"prune policy 'confidence': {test} is first tested after {steps + 1} tokens, above max_tokens "
                    f"{limits.max_tokens}; set it to none, lower its steps or allow longer paths"
                )
        self.needs = Needs(tokens=True, entropy=params.spike)
        self._context = max(steps - 1 + back for steps, back in asked.values())

    def judge(self, segment: Segment) -> Verdict | None:
        """None: the path goes on."""
        unsure = self._unsure(segment)
        if unsure is None:
            return super().judge(segment)
        verdict = self._ended(segment, *unsure)
        if verdict.reason in UNSURE and not self._tests.keep_as_leaf:
            return Verdict(NodeStatus.PRUNED, verdict.reason, verdict.why)
        return verdict

    def _unsure(self, segment: Segment) -> tuple[StopReason, Why] | None:
        """The first test that holds, with its numbers at the first token where it does."""
        own = segment.tokens
        if own is None or segment.recent is None:
            return None
        before = segment.recent(self._context)
        first = len(before.ids)
        sure = signals.confidences(chain(before.logprobs, own.logprobs))
        if (why := self._low(sure, first)) is not None:
            return StopReason.LOW_CONFIDENCE, why
        if (why := self._declines(sure, first)) is not None:
            return StopReason.TAIL_DECLINE, why
        if (why := self._spikes([*before.entropies, *own.entropies], first)) is not None:
            return StopReason.ENTROPY_SPIKE, why
        return None

    def _low(self, sure: list[float], first: int) -> Why | None:
        least, window = self._tests.min_confidence, self._tests.group_window
        if least is None:
            return None
        low = next((mean for mean in signals.means(sure, window)[first:] if mean < least), None)
        return None if low is None else because("confidence.low", confidence=low, least=least, window=window)

    def _declines(self, sure: list[float], first: int) -> Why | None:
        most, window, steps = self._tests.decline_confidence, self._tests.tail_window, self._tests.decline_steps
        if most is None:
            return None
        fallen = zip(signals.streaks(signals.falls(sure, window)), signals.means(sure, window), strict=True)
        for streak, mean in list(fallen)[first:]:
            if streak >= steps and mean <= most:
                return because("confidence.decline", confidence=mean, most=most, streak=streak, steps=steps)
        return None

    def _spikes(self, entropies: list[float], first: int) -> Why | None:
        least, steps = self._tests.spike, self._tests.spike_steps
        if least is None:
            return None
        rises = signals.rises(entropies, self._tests.entropy_window)
        risen = zip(signals.streaks(rise > 0 for rise in rises), rises, strict=True)
        for streak, rise in list(risen)[first:]:
            if streak >= steps and rise > least:
                return because("confidence.spike", rise=rise, spike=least, streak=streak, steps=steps)
        return None

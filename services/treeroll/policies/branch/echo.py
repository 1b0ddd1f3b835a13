"""ECHO: whole answers, then more from where each was first unsure (arXiv 2602.02150, by its release)."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from pydantic import Field, model_validator

from treeroll.errors import InvalidInput
from treeroll.policies import signals
from treeroll.policy import base
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus, Tokens
from treeroll.tree.tree import Tree
from treeroll.why import because


class ECHO:
    """Whole answers; then B - 1 more from before the first token of each at which the model was unsure.

    That is the first token with `min_depth` completion tokens before it whose entropy H is at least `entropy` and at
    least `entropy_rise` above the mean of the `entropy_window` entropies before it, while the group confidence C, the
    mean confidence of the last `group_window` tokens, is at most `confidence`. A window reaches back to the answer's
    beginning at most. Then
    B = round(1 + entropy_weight (H - entropy_low) / (entropy_high - entropy_low) - confidence_weight (C - c) / c),
    held within 1..max_width, where c is `confidence`: B falls where the model is sure, whatever its entropy. B may be
    1, and then nothing starts. What is missing up to the run's leaves starts from the prompt in the same wave, so there
    are two waves one after the other.

    A place is found by reading the finished answer, so it is retrospective, and so are the answers that fill up: path
    weights of all later answers are 0, and the first ones alone estimate the policy's mean reward.

    Rule, windows, `min_depth`, weights and bounds are the release's, as are the thresholds of entropy; it compares them
    with entropies over 10 candidates, which cannot exceed ln 10 = 2.3, ours are upper bounds that can. Ours: how many
    answers come first; a token's confidence, the probability with which it was sampled, because a record holds no
    candidates; `confidence` on that scale; an answer of `min_depth` tokens or fewer has no place, where the release
    looks at its last token. A discarded answer is not cut, and none is replaced after the second wave.

    Ours, too: new answers sample the token at their place freely, so one begins as the old answer does with that
    token's own probability. The release gives them the best candidates but the old answer's token, one each. Nobody
    samples such a token: the policy's probability beside it would be false, so it would be masked like inserted text.
    But engines pass no candidates on, and records hold none, so there are none to give.
    """

    name: ClassVar[str] = "echo"
    summary: ClassVar[str] = "whole answers, then more from where each was first unsure"
    paper: ClassVar[str] = "ECHO, arXiv 2602.02150"
    explains: ClassVar[Mapping[str, str]] = {
        "echo.place": "the first token with an entropy of {entropy}, {least} or more, and a confidence of "
        "{confidence}, {most} or less: {width} answers go on from before it",
        "echo.fresh": "cuts have left {missing} of {leaves} leaves, which begin at the prompt",
    }

    class Params(base.Params):
        """How many answers, where they are cut, and how wide."""

        answers: int = Field(16, ge=1, le=MAX_FANOUT, description="whole answers that come first")
        min_depth: int = Field(4, ge=1, description="completion tokens before the first place")
        entropy: float = Field(3.5, ge=0, description="least entropy of a place, nats")
        entropy_rise: float = Field(0.2, ge=0, description="least rise of entropy at a place, nats")
        entropy_window: int = Field(4, ge=1, le=4096, description="tokens that an entropy is compared with")
        confidence: float = Field(0.6, gt=0, le=1, description="most group confidence at a place")
        group_window: int = Field(4, ge=1, le=4096, description="tokens in a group confidence")
        entropy_weight: float = Field(2.0, ge=0, le=1024, description="alpha, width that entropy adds")
        confidence_weight: float = Field(1.0, ge=0, le=1024, description="beta, width that confidence takes")
        entropy_low: float = Field(1.0, ge=0, description="H_lo, entropy that adds nothing, nats")
        entropy_high: float = Field(3.5, gt=0, description="H_hi, entropy that adds alpha, nats")
        max_width: int = Field(4, ge=2, le=MAX_FANOUT, description="most answers per place, the first included")

        @model_validator(mode="after")
        def _low_is_below_high(self) -> "ECHO.Params":
            if self.entropy_low >= self.entropy_high:
                raise ValueError(
                    f"entropy_low {self.entropy_low:g} is not below entropy_high {self.entropy_high:g}; lower the one "
                    "or raise the other"
                )
            return self

    def __init__(self, params: Params, limits: Limits) -> None:
        count = LeafCount(
            "answers * max_width",
            lambda answers, max_width: answers * max_width,
            {"answers": params.answers, "max_width": params.max_width},
            least={"max_width": 2},
        )
        within_leaves(self.name, count, limits)
        if params.min_depth >= limits.max_tokens:
            raise InvalidInput(
                f"branch policy 'echo': min_depth {params.min_depth} allows no place before token "
                f"{params.min_depth + 1}, above max_tokens {limits.max_tokens}; lower it or allow longer paths"
            )
        # Nothing starts at a token of less entropy.
        self.needs = Needs(tokens=True, entropy=max(params.entropy, params.entropy_rise))
        self.max_leaves = limits.leaves
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return ECHOGrowth(self._params, self.max_leaves)


@dataclass(frozen=True, slots=True)
class Place:
    """A token of a node, and how many answers begin with what is before it, the first one included."""

    node: int
    position: int
    width: int
    entropy: float
    confidence: float


class ECHOGrowth:
    """Looks for the place of each answer while it comes, and cuts them all when all have ended."""

    def __init__(self, params: ECHO.Params, leaves: int) -> None:
        self._params = params
        self._leaves = leaves
        self._context = max(params.entropy_window, params.group_window - 1)
        self._places: dict[int, Place] = {}  # answer, by its index below the prompt
        self._cut = False

    def start(self, tree: Tree) -> list[Expansion]:
        """The first answers."""
        return [Expansion(tree.root.number, self._params.answers, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Look for the answer's place; there is nothing to decide yet."""
        if not self._cut:
            self._look(tree, node)
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The second wave, once. Every path has ended, so arrival has left no trace."""
        if self._cut:
            return []
        self._cut = True
        expansions = [self._at(tree, place) for _, place in sorted(self._places.items()) if place.width > 1]
        missing = self._leaves - len(tree.leaves) - sum(expansion.forks for expansion in expansions)
        why = because("echo.fresh", missing=missing, leaves=self._leaves)
        fresh = Expansion(
            tree.root.number, missing, BranchReason.FALLBACK, Decision.RETROSPECTIVE, resume=False, why=why
        )
        return [*expansions, fresh]

    def _at(self, tree: Tree, place: Place) -> Expansion:
        """More answers from before a token; the first token of a node follows its whole parent."""
        node = tree.nodes[place.node]
        number, split_at = (node.number, place.position) if place.position else (node.parent, None)
        forks = place.width - 1
        why = because(
            "echo.place",
            entropy=place.entropy,
            least=self._params.entropy,
            confidence=place.confidence,
            most=self._params.confidence,
            width=place.width,
        )
        return Expansion(
            number, forks, BranchReason.FORK, Decision.RETROSPECTIVE, resume=False, split_at=split_at, why=why
        )

    def _look(self, tree: Tree, node: Node) -> None:
        answer = tree.path(node.number)[0]
        if node.status is NodeStatus.PRUNED:
            self._places.pop(answer, None)
        elif answer not in self._places and node.tokens is not None:
            before = tree.tokens_before(node.parent, node.token_start, self._context)
            earliest = self._params.min_depth - (node.token_start - tree.root.n_tokens)
            place = self._first_place(before, node.tokens, range(max(0, earliest), node.sampled))
            if place is not None:
                self._places[answer] = Place(node.number, *place)

    def _first_place(self, before: Tokens, own: Tokens, positions: range) -> tuple[int, int, float, float] | None:
        """Position, width, entropy and confidence of the first place among these positions of a node."""
        first, params = len(before.ids), self._params
        entropies = [*before.entropies, *own.entropies]
        if len(entropies) < first + len(own.ids):  # an engine that sends none
            return None
        rises = signals.rises(entropies, params.entropy_window)
        sure = signals.means(signals.confidences(chain(before.logprobs, own.logprobs)), params.group_window)
        for position in positions:
            entropy, confidence = entropies[first + position], sure[first + position]
            unsure = entropy >= params.entropy and confidence <= params.confidence
            if unsure and rises[first + position] >= params.entropy_rise:
                return position, width(params, entropy, confidence), entropy, confidence
        return None


def width(params: ECHO.Params, entropy: float, confidence: float) -> int:
    """B, answers that go on from a place, the first one included: 1..max_width."""
    gain = params.entropy_weight * (entropy - params.entropy_low) / (params.entropy_high - params.entropy_low)
    loss = params.confidence_weight * (confidence - params.confidence) / params.confidence
    return min(max(round(1 + gain - loss), 1), params.max_width)

"""Branches with an inserted text or a token limit of their own: paths are what engines saw, whoever served them."""

import struct
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from treeroll.core.growth.credit import TreeShape, path_weights
from treeroll.core.model.effects import Effect, PersistNode, StartBranch
from treeroll.core.model.events import SegmentReported
from treeroll.core.model.live_tree import TreeStatus
from treeroll.policies import registry
from treeroll.policies.policies import Policies
from treeroll.policy.base import Expansion, Limits
from treeroll.policy.needs import Needs
from treeroll.simulation.language import EOS, encode, ids_of
from treeroll.simulation.serving import Serving
from treeroll.simulation.world import PROMPT_TOKENS, World, fingerprint
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus, StopReason
from treeroll.tree.tree import Tree

LIMITS = Limits(leaves=32, segment_tokens=32, max_depth=4, max_tokens=128)
LIMIT = 70  # ends in the third segment
WHOLE, HINT, SHORT = "say it in full", "hint", "be short"


@dataclass
class Growth:
    """At the prompt: free, hinted and limited paths; forks with a hint; and, behind a hint, a split with another."""

    splits: bool
    split: set[int] = field(default_factory=set)

    def start(self, tree: Tree) -> list[Expansion]:
        return [
            Expansion(0, 2, BranchReason.INITIAL, resume=False),
            Expansion(0, 2, BranchReason.INITIAL, group=1, resume=False, insert=WHOLE),
            Expansion(0, 2, BranchReason.INITIAL, group=2, resume=False, insert=SHORT, max_tokens=LIMIT),
        ]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        if node.status is not NodeStatus.INNER:
            return []
        return [Expansion(node.number, int(node.depth == 1), insert=HINT if node.group else "")]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        places = [
            node
            for node in tree.nodes
            if self.splits and node.number not in self.split and node.inserted and len(node.own) > 2
        ]
        self.split |= {node.number for node in places}
        return [
            Expansion(number, 1, BranchReason.FORK, Decision.RETROSPECTIVE,
                      split_at=tree.nodes[number].own[1 + depth % 2], insert=HINT if depth == 1 else "")
            for number in tree.in_path_order([node.number for node in places])
            for depth in [tree.nodes[number].depth]
            if tree.nodes[number].group
        ]  # fmt: skip


@dataclass
class Hints:
    """Not for the registry."""

    needs: Needs
    name: ClassVar[str] = "hints"
    max_leaves: ClassVar[int] = 32

    def grow(self, tree: Tree) -> Growth:
        return Growth(self.needs.tokens)


@dataclass
class Watched(World):
    """Keeps the tokens of every grant as its engine has them, and compares them with the path of every node."""

    checked: int = 0
    sequences: dict[int, list[int]] = field(default_factory=dict)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, StartBranch):
            self.sequences[effect.grant] = self._prefix(effect)
            room = effect.boundaries[-1] - len(self.sequences[effect.grant])
            assert self.state.grants[effect.grant][1].reserved == room > 0
        super()._perform(effect)
        if isinstance(effect, PersistNode):
            node, tree = effect.node, effect.live.tree
            seen = self.sequences[node.grant][PROMPT_TOKENS : node.token_start + node.own.stop]
            path = self._path(tree.tree_id, [step.number for step in tree.lineage(node.number)])
            assert seen == path[: len(seen)]
            assert (
                len(path) - len(seen) == len(node.observation.ids) // 4 if node.observation else len(path) == len(seen)
            )
            self.checked += 1

    def _prefix(self, start: StartBranch) -> list[int]:
        sent = [value for (value,) in struct.iter_unpack("<i", start.prefix_ids)]
        if start.prefix_grant:
            sequence = self.sequences[start.prefix_grant][: start.prefix_tokens - len(sent)] + sent
        else:
            sequence = (sent + self._path(start.tree_id, list(start.stored)))[: start.prefix_tokens]
        assert len(sequence) == start.prefix_tokens
        return sequence + (ids_of(start.inserted) if start.inserted else [])

    def _path(self, tree_id: str, numbers: list[int]) -> list[int]:
        """Stored tokens down a path, without the prompt."""
        tokens: list[int] = []
        for part in (self.stored[tree_id][number] for number in numbers):
            tokens = tokens[: part.start - PROMPT_TOKENS] + part.tokens
        return tokens

    def segment(self, key: tuple[str, int], serving: Serving) -> SegmentReported:
        report = super().segment(key, serving)
        if report.n_tokens:
            self.sequences[serving.start.grant] += report.payload.tokens
        return report


def grown(segment: str = "fixed", splits: bool = False, **settings: Any) -> Watched:
    params: dict[str, object] = settings.pop("params", {})
    prune = {"boxed": "off", "repetition": "off"}
    policies = Policies(
        registry.build("segment", segment, params, LIMITS),
        Hints(Needs(tokens=splits, inserts=(HINT,))),
        registry.build("prune", "finish_tests", prune, LIMITS),
        registry.build("advantage", "grpo", {}, LIMITS),
    )
    world = Watched(limits=LIMITS, policies=policies, **{"end_share": 0.02, **settings})
    world.run()
    assert world.checked > 50
    return world


DELIMITED = {"texts": ["9 1"], "token_ids": [2, 3, 4]}
WAYS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "held": {"params": {"hold": True}},
    "delimited": {"segment": "delimiter", "params": DELIMITED},
    "steps": {"segment": "agent_step"},
    "splits": {"splits": True},
    "delimited splits": {"splits": True, "segment": "delimiter", "params": DELIMITED},
}


@pytest.mark.parametrize("way", WAYS)
def test_paths_are_what_engines_saw_and_the_same_on_every_fleet_and_through_losses(way: str) -> None:
    alone = grown(**WAYS[way], seed=1, replicas=1, slots=64)
    for fleet in ({"seed": 2, "replicas": 3, "slots": 2, "placement": "round_robin"}, {"seed": 4, "kill_share": 0.04}):
        world = grown(**WAYS[way], **fleet)
        assert fingerprint(world) == fingerprint(alone)
        assert bool(world.state.runs["run"].counters.regrants) == ("kill_share" in fleet)
        ledger = world.state.runs["run"].ledger
        assert (ledger.outstanding, ledger.balanced()) == (0, True)


def test_the_first_node_of_a_branch_begins_with_its_text_and_no_other_does() -> None:
    world = grown()
    begun = set()
    for name, live in world.finished.items():
        for node in live.tree.nodes[1:]:
            wanted = {1: WHOLE, 2: SHORT}.get(node.group) if node.depth == 1 else None
            if node.sibling_index and live.tree.nodes[node.parent].group and node.depth > 1:
                wanted = HINT
            if wanted is None:
                assert node.inserted is None
            else:
                begun.add(wanted)
                assert node.inserted == encode(wanted)
                assert world.stored[name][node.number].tokens[: node.inserted.n_tokens] == ids_of(node.inserted)
    assert begun == {WHOLE, SHORT, HINT}


@pytest.mark.parametrize("way", ["fixed", "held", "steps"])
def test_no_path_is_longer_than_its_limit_and_one_that_comes_to_it_says_length(way: str) -> None:
    ended = 0
    for live in grown(**WAYS[way], end_share=0.0).finished.values():
        for node in live.tree.nodes[1:]:
            assert node.max_tokens == (LIMIT if node.group == 2 else None)
            if node.group == 2:
                assert node.total <= PROMPT_TOKENS + LIMIT
                assert (node.status is NodeStatus.LEAF) == (node.stop_reason is StopReason.LENGTH)
                ended += node.total == PROMPT_TOKENS + LIMIT
    assert ended


def test_paths_with_a_text_or_a_limit_of_their_own_weigh_nothing_and_take_no_weight_from_others() -> None:
    for live in grown(splits=True, end_share=0.0).finished.values():
        weights = path_weights(TreeShape.of(live))
        free = [leaf for leaf, weight in weights.items() if weight]
        assert sum(weights.values()) == pytest.approx(1.0)
        assert all(not live.tree.nodes[leaf].group for leaf in free)


def test_credit_counts_only_sampled_tokens_also_where_a_node_is_split_behind_its_text() -> None:
    for live in grown(splits=True).finished.values():
        shape = TreeShape.of(live)
        assert len(shape.parents) > len(live.tree.nodes)
        assert sum(shape.n_tokens) - live.tree.root.n_tokens == sum(len(node.own) for node in live.tree.nodes[1:])


def test_a_text_longer_than_a_segment_takes_its_boundary_and_one_that_fills_the_path_starts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lengths = {WHOLE: 50, SHORT: LIMIT, HINT: 1}
    long = {text: struct.pack(f"<{count}i", *[EOS + 60] * count) for text, count in lengths.items()}
    monkeypatch.setattr("treeroll.simulation.world.encode", lambda text: type(encode(text))(long[text], text))
    world = grown(end_share=0.0)
    for live in world.finished.values():
        assert live.n_censored == 2
        first = [node for node in live.tree.nodes[1:] if node.depth == 1]
        assert {node.group for node in first} == {0, 1}
        ends = {node.group: node.total - PROMPT_TOKENS for node in first}
        assert ends == {0: 45, 1: 77}  # 65 and 97 in all, 1 modulo a block of 16
        assert all(node.depth <= 4 for node in live.tree.nodes)


def test_a_tree_none_of_whose_paths_has_room_for_a_token_ends_and_says_so() -> None:
    world = World(recipe="hbpo", limits=LIMITS, overrides={"branch": {"budgets": [1]}}, tasks=3)
    world.run()
    assert len(world.finished) == 3
    for live in world.finished.values():
        assert (live.status, live.error) == (TreeStatus.FAILED, "no path had room for a token")
        assert live.n_censored == LIMITS.leaves

"""What must hold in every world, whatever its faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from treeroll import ranges
from treeroll.coordinator.records import recredit
from treeroll.coordinator.stored_trees import header_of
from treeroll.core.model.run import RunSpec
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.assemble import assemble
from treeroll.store import lease_id
from treeroll.store.base import GroupPosition, Lease, StoredTree
from treeroll.tree.node import NodeStatus
from treeroll.tree.tree import SPLIT


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept."""

    promise: str
    what: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


@dataclass(slots=True)
class Deliveries:
    """What consumers of groups were lent and what they were told is acknowledged, in the order in which it happened."""

    held_until: dict[tuple[str, int], float] = field(default_factory=dict)
    acknowledged: dict[tuple[str, int], float] = field(default_factory=dict)
    """When a consumer had the answer to it."""
    epochs: dict[str, int] = field(default_factory=dict)
    """How often groups were moved."""
    lent_again: set[int] = field(default_factory=set)
    """Entries that were lent after such a move."""
    rewards: dict[str, dict[int, float | None]] = field(default_factory=dict)
    """Of each tree that was delivered, by node: what the run's scorer said."""

    def lent(self, group: str, lease: Lease, now: float, lease_s: float) -> Broken | None:
        """An entry is lent: nobody else may hold it, and nobody have acknowledged it."""
        key = group, lease.seq
        if self.epochs.get(group):
            self.lent_again.add(lease.seq)
        if key in self.acknowledged:
            told = f"{lease.tree_id} was acknowledged at {self.acknowledged[key]:.2f} s, and is lent again"
            return Broken("DeliveredOnceAcked", told)
        until = self.held_until.get(key, now)
        self.held_until[key] = now + lease_s
        if now < until:
            return Broken("DeliveredOnceAcked", f"{lease.tree_id} is lent again, and is held until {until:.2f} s")
        return None

    def renewed(self, group: str, text: str, now: float, lease_s: float) -> None:
        """Whoever holds it holds it longer."""
        if (name := lease_id.parse(text.rpartition("/")[2])) is not None:
            self.held_until[group, name.seq] = now + lease_s

    def released(self, group: str, text: str) -> None:
        """Whoever had it gave it back."""
        if (name := lease_id.parse(text.rpartition("/")[2])) is not None:
            self.held_until.pop((group, name.seq), None)

    def acked(self, group: str, text: str, now: float) -> None:
        """A consumer was told that it is done with it; perhaps late, after the group was moved."""
        name = lease_id.parse(text.rpartition("/")[2])
        if name is not None and name.epoch == self.epochs.get(group, 0):
            self.acknowledged[group, name.seq] = now

    def read(self, tree_id: str, nodes: Sequence[pb.Node], scorer: str) -> Broken | None:
        """A consumer reads what the run's scorer said of a tree: it is the same for all, whoever asks and when."""
        rewards = {
            number: reward.value if reward.HasField("value") else None
            for number, node in enumerate(nodes)
            for reward in node.rewards
            if (reward.scorer, reward.version) == (scorer, 1)
        }
        before = self.rewards.setdefault(tree_id, rewards)
        if before != rewards:
            return Broken("RewardOnce", f"the rewards of {tree_id} are {rewards}, and were {before} for another")
        return None

    def check_rewards(self, trees: Mapping[str, StoredTree], scorer: str) -> list[Broken]:
        """What consumers read is what is stored."""
        found = []
        for tree_id in sorted(self.rewards.keys() & trees.keys()):
            stored = _rewards(trees[tree_id], scorer)
            if stored != self.rewards[tree_id]:
                told = f"the rewards of {tree_id} were delivered as {self.rewards[tree_id]}, stored are {stored}"
                found.append(Broken("RewardOnce", told))
        return found

    def moved(self, group: str, position: GroupPosition) -> None:
        """A group has another past: what that has not acknowledged comes again, whoever holds it."""
        self.epochs[group] = position.epoch
        self.held_until = {key: until for key, until in self.held_until.items() if key[0] != group}
        self.acknowledged = {
            key: at
            for key, at in self.acknowledged.items()
            if key[0] != group or ranges.has(position.acknowledged, key[1])
        }

    def forget(self) -> None:
        """The store went back in time: what it had answered for is gone."""
        self.epochs.clear()
        self.held_until.clear()
        self.acknowledged.clear()
        self.rewards.clear()


def rows(trees: Mapping[str, StoredTree], scorer: str) -> list[tuple[object, ...]]:
    """`world.fingerprint` of stored trees: all that must not depend on time, place or faults."""
    found: list[tuple[object, ...]] = []
    for name, tree in trees.items():
        status = header_of(tree).status
        rewards = _rewards(tree, scorer)
        nodes = [pb.Node.FromString(blob) for blob in tree.nodes]
        paths: list[tuple[int, ...]] = []
        for number, node in enumerate(nodes):
            paths.append(_path(nodes, paths, number))
            tokens = list(memoryview(node.token_ids).cast("i")) if number else ()
            found.append((
                name, paths[-1], node.depth, node.token_start, tokens, node.status, node.stop_reason,
                node.branch_reason, node.decision, node.group,
                rewards.get(number) if node.status == NodeStatus.LEAF else None, status,
                node.temperature if node.HasField("temperature") else None,
                node.model if node.HasField("model") else None,
            ))  # fmt: skip
    return sorted(found, key=lambda row: row[:2])


def _path(nodes: list[pb.Node], paths: list[tuple[int, ...]], number: int) -> tuple[int, ...]:
    """As `Tree.path`."""
    if not number:
        return ()
    node, parent = nodes[number], nodes[nodes[number].parent]
    within = node.token_start - parent.token_start
    split = [SPLIT - within] if node.HasField("parent_chars") and within < len(parent.token_ids) // 4 else []
    return *paths[node.parent], *split, node.sibling_index


def _rewards(tree: StoredTree, scorer: str) -> dict[int, float | None]:
    found: dict[int, float | None] = {}
    for key, blob in tree.rewards.items():
        node, by, version = key.split(":")
        if by == scorer and version == "1":
            reward = pb.Reward.FromString(blob)
            found[int(node)] = reward.value if reward.HasField("value") else None
    return found


def check_credit(trees: Mapping[str, StoredTree], spec: RunSpec) -> list[Broken]:
    """What a tree says of its leaves is what follows from the rewards that are stored of it."""
    found = []
    for name, tree in trees.items():
        assembled = assemble(tree)
        said = [leaf.SerializeToString(deterministic=True) for leaf in assembled.leaves]
        recredit(assembled, spec.scorer, spec.advantage)
        if said != [leaf.SerializeToString(deterministic=True) for leaf in assembled.leaves]:
            found.append(Broken("RewardOnce", f"the credit of {name} is not that of its rewards"))
    return found


def check_versions(trees: Mapping[str, StoredTree]) -> list[Broken]:
    """No node was made with older weights than what it goes on from: replicas get no work before they have those in
    force."""
    found = []
    for name, tree in trees.items():
        nodes = [pb.Node.FromString(blob) for blob in tree.nodes]
        for number, node in enumerate(nodes):
            parent = nodes[node.parent]
            before = [span.version for span in parent.weight_versions] if number and node.model == parent.model else []
            if min((span.version for span in node.weight_versions), default=0) < max(before, default=0):
                told = f"node {number} of {name} is of older weights than node {node.parent}, which it goes on from"
                found.append(Broken("StalenessBound", told))
    return found


def check_models(trees: Mapping[str, StoredTree], others: str) -> list[Broken]:
    """All that a run has of one pool is of one model: of that of the replicas whose names begin so, or of the other."""
    made: dict[str, dict[bool, str]] = {}
    for name, tree in trees.items():
        pool = header_of(tree).model
        for node in map(pb.Node.FromString, tree.nodes[1:]):
            seen = made.setdefault(node.model if node.HasField("model") else pool, {})
            seen.setdefault(node.replica_id.startswith(others), f"node {node.number} of {name} by {node.replica_id}")
    mixed = [seen for seen in made.values() if len(seen) > 1]
    return [Broken("OneModel", f"{seen[True]}, and {seen[False]}, are of two models") for seen in mixed]


def check_feed(run_id: str, feed: list[str], accepted: set[str], asked: set[str]) -> list[Broken]:
    """Every task that was taken has exactly one terminal event, and no other has any but those that were asked for."""
    found = [
        Broken("DeliveredOnceAcked", f"tree {name} of run {run_id} ended {feed.count(name)} times")
        for name in sorted(set(feed))
        if feed.count(name) > 1
    ]
    found += [
        Broken("DeliveredOnceAcked", f"tree {name} of run {run_id} never ended") for name in sorted(accepted - {*feed})
    ]
    found += [Broken("DeliveredOnceAcked", f"nobody asked for tree {name}") for name in sorted({*feed} - asked)]
    return found


def check_losses(trees: Mapping[str, StoredTree], most: int) -> list[Broken]:
    """No branch is lost more often than something died."""
    found = []
    for name, tree in trees.items():
        attempt = max((pb.Node.FromString(blob).attempt for blob in tree.nodes), default=0)
        if attempt > most + 1:
            found.append(Broken("OneOutcomePerBranch", f"a node of {name} took {attempt} attempts, {most} things died"))
    return found


def first_difference(got: list[tuple[object, ...]], wanted: list[tuple[object, ...]]) -> Broken | None:
    """Trees are those of a world in which nothing went wrong."""
    for one, other in zip(got, wanted, strict=False):
        if one != other:
            return Broken("ForkBlind", f"a tree has {one}, without faults it has {other}")
    if len(got) != len(wanted):
        return Broken("ForkBlind", f"the trees have {len(got)} nodes, without faults they have {len(wanted)}")
    return None

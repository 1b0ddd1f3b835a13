"""A simulated world that keeps the records which a store would have of its trees."""

import numpy as np
from msgspec import structs

from treeroll.coordinator import records
from treeroll.core.model.effects import Effect, PersistNode, PersistReward
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.assemble import assemble
from treeroll.simulation.language import logprob_of
from treeroll.simulation.world import World
from treeroll.store.base import StoredTree


class RecordedWorld(World):
    """Keeps the records of nodes and rewards that a store would."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.nodes: dict[str, list[bytes]] = {}
        self.rewards: dict[str, dict[str, bytes]] = {}

    def _perform(self, effect: Effect) -> None:
        super()._perform(effect)
        if isinstance(effect, PersistNode):
            live, made = effect.live, effect.report.payload
            logprobs = np.array([logprob_of(token) for token in made.tokens], "<f4").tobytes()
            payload = pb.Node(
                token_ids=np.array(made.tokens, "<i4").tobytes(),
                logprobs=logprobs,
                text=made.text,
                weight_versions=[pb.WeightSpan(version=1, tokens=len(made.tokens))],
            )
            report = structs.replace(effect.report, payload=payload.SerializeToString())
            nodes = self.nodes.setdefault(live.tree_id, [records.root_record(live.task)])
            nodes.append(records.node_record(structs.replace(effect, report=report)))
        elif isinstance(effect, PersistReward):
            key = records.reward_key(effect.node, "exact", 1)
            reward = records.reward_record("exact", 1, effect.value, effect.error)
            self.rewards.setdefault(effect.live.tree_id, {})[key] = reward

    def tree(self, tree_id: str) -> pb.Tree:
        """A tree that has ended, assembled."""
        live = self.finished[tree_id]
        header = records.final_header(live, records.task_header(live.run, live.task, "", ""))
        return assemble(StoredTree(header.SerializeToString(), self.nodes[tree_id], self.rewards.get(tree_id, {})))

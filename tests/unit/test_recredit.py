"""Credit from the stored records of a tree is the credit that the core gave it."""

from dataclasses import replace

import pytest
from tests.support.recorded_world import RecordedWorld

from treeroll.coordinator import records
from treeroll.core.growth.credit import TreeShape
from treeroll.policy.base import Limits
from treeroll.records.assemble import assemble
from treeroll.store.base import StoredTree

LIMITS = Limits(leaves=6, segment_tokens=32, max_depth=4, max_tokens=128)


SMALL: dict[str, dict[str, dict[str, object]]] = {
    "tree_grpo": {"segment": {"name": "agent_step"}},
    "treepo": {},
    "spo": {"branch": {"fanouts": [2, 3], "temperature_step": 0.5}},
    "treerl": {"branch": {"chains": 2, "places": 1}},
}


@pytest.mark.parametrize("recipe", SMALL)
def test_records_and_core_agree_on_shape_and_credit(recipe: str) -> None:
    world = RecordedWorld(recipe=recipe, limits=LIMITS, end_share=0.02, tasks=20, overrides=SMALL[recipe])
    world.run()
    for name, live in world.finished.items():
        header = records.final_header(live, records.task_header(live.run, live.task, "", ""))
        stored = StoredTree(header.SerializeToString(), world.nodes[name], world.rewards[name])
        tree = assemble(stored)
        there, here = records.shape_of(tree), TreeShape.of(live)
        # Records have a float32 of each token, so their sums differ in the last digits.
        assert there.logprob_sums == pytest.approx(here.logprob_sums, rel=1e-5)
        assert replace(there, logprob_sums=here.logprob_sums) == here
        records.recredit(tree, "exact", live.run.spec.advantage)
        assert list(tree.leaves) == list(header.leaves)
    labels = {group for live in world.finished.values() for group in TreeShape.of(live).groups[1:]}
    assert labels == ({1, 2} if recipe in ("tree_grpo", "treerl") else {0})

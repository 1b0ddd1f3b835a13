"""`treeroll bench feed` on tiny sizes: every token comes through, both ways."""

from treeroll.bench.feed import measure
from treeroll.bench.finished_trees import FinishedTrees, TreeShape
from treeroll.client.sample import samples_of
from treeroll.coordinator.audit import tree_findings
from treeroll.records.assemble import assemble
from treeroll.store.base import StoredTree


def test_made_trees_keep_every_promise_of_grown_ones() -> None:
    shape = TreeShape(leaves=8, segments=5, segment_tokens=16)
    commit = FinishedTrees(shape, variety=2).commit("run", 0, 3)
    for tree_id, rows in commit.nodes.items():
        stored = StoredTree(commit.trees[tree_id], [record for _, record in rows], {})
        tree = assemble(stored)
        assert list(tree_findings(tree)) == []
        samples = samples_of(tree)
        assert len(samples) == 8
        assert {len(sample.completion_ids) for sample in samples} == {5 * 16}
        assert len({sample.completion_ids.tobytes() for sample in samples}) == 8


async def test_all_samples_come_through_the_client_and_all_bytes_through_the_bare_stream() -> None:
    shape = TreeShape(leaves=4, segments=3, segment_tokens=8)
    result = await measure(shape, trees=6, batch_trees=2, rounds=1, note=lambda _: None, warm_ups=0)
    bare, client = result.rounds["bare"][0], result.rounds["client"][0]
    assert bare["samples_s"] > 0
    assert client["samples_s"] > 0
    assert result.parameters["trees"] == 6

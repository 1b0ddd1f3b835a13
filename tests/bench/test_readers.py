"""`treeroll bench readers` on a small tree: all of it is fetched and audited, and calls are answered meanwhile."""

from treeroll.bench.finished_trees import TreeShape
from treeroll.bench.readers import measure


async def test_a_tree_of_several_pages_is_read_whole_while_calls_are_answered() -> None:
    result = await measure(TreeShape(leaves=60, segments=10, segment_tokens=4), 1, lambda _: None, warm_ups=0)
    assert result.parameters["nodes"] > 256
    for found in result.rounds.values():
        assert found[0]["calls"] > 0
        assert found[0]["p99_ms"] > 0

"""`treeroll bench store` on tiny sizes."""

from itertools import islice

import pytest

from treeroll.bench.store import PER_TREE, Load, commits, measure
from treeroll.errors import InvalidInput
from treeroll.store.memory import MemoryStore


async def test_commits_are_trees_that_a_store_takes() -> None:
    store = MemoryStore()
    epoch = await store.open()
    for commit in islice(commits(Load(nodes=16)), 40):
        assert sum(map(len, commit.nodes.values())) == 16
        await store.commit(commit, epoch)


async def test_both_variants_write_nodes() -> None:
    notes: list[str] = []
    result = await measure(Load(nodes=16, seconds=0.1), rounds=1, note=notes.append, warm_ups=0)
    assert {"push", "commit"} <= set(result.rounds)
    for figures in result.rounds.values():
        assert figures[0]["nodes"] % 16 == 0
        assert figures[0]["nodes_s"] > 0
        assert figures[0]["redis_us"] >= 0
    assert len(result.table().rows) == len(result.rounds)


async def test_a_commit_without_nodes_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least"):
        await measure(Load(nodes=PER_TREE - 1), rounds=1, note=print)

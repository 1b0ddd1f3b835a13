"""Ranks that train one model together: shares of global batches, in a whole service with either store."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncBatch, AsyncClient, AsyncRun
from treeroll.errors import Drained, GroupMoved, InvalidInput, ShareConflict
from treeroll.testing.service import LocalService

# 18 trees take all leaves; 3 tasks end without a sample.
RUN: dict[str, Any] = {
    "recipe": "flat", "leaves": 4, "segment_tokens": 16, "max_depth": 4, "budget": {"leaves": 72},
}  # fmt: skip
TASKS = 21


def tasks(first: int, count: int) -> list[dict[str, Any]]:
    return [{"id": f"t{n}", "prompt": f"Compute {n}+1.\n"} for n in range(first, first + count)]


async def open_run(client: AsyncClient) -> AsyncRun:
    run = await client.create_run("run", **RUN)
    await run.submit(tasks(1, TASKS))
    return run


@pytest.fixture
async def run(client: AsyncClient) -> AsyncRun:
    """A closed run whose trees have all ended: 18 with samples, 3 without."""
    run = await open_run(client)
    await run.close()

    async def ended() -> bool:
        return (await run.status()).ended

    await eventually(ended)
    status = await run.status()
    assert (status.finished, status.failed) == (18, 3)
    return run


def tree_ids(batch: AsyncBatch) -> list[str]:
    return [delivery.tree_id for delivery in batch.deliveries]


def figures(batch: AsyncBatch) -> tuple[int, int, int, int]:
    return batch.step, batch.global_trees, batch.global_samples, batch.global_tokens


async def consume(run: AsyncRun, rank: int, world: int, slow: bool = False, **options: Any) -> list[AsyncBatch]:
    """All batches of a rank; a slow one lets the others go first, each time."""
    batches = []
    async for batch in run.batches(trees=4, rank=rank, world=world, **options):
        batches.append(batch)
        for _ in range(200 * slow):
            await asyncio.sleep(0)
    return batches


def check_steps(ranks: list[list[AsyncBatch]], wanted: int = TASKS) -> None:
    """Equally many batches, every tree in exactly one share, and what is said of a step is true and the same."""
    assert len({len(batches) for batches in ranks}) == 1
    seen = Counter(tree_id for batches in ranks for batch in batches for tree_id in tree_ids(batch))
    assert (len(seen), set(seen.values())) == (wanted, {1})
    for shares in zip(*ranks, strict=True):
        assert len({figures(share) for share in shares}) == 1
        assert shares[0].global_trees == sum(len(share.trees) for share in shares)
        assert shares[0].global_samples == sum(len(share) for share in shares)
        samples = [sample for share in shares for sample in share.samples]
        assert shares[0].global_tokens == sum(int(sample.model_mask.sum()) for sample in samples)


def unique_tokens(batch: AsyncBatch) -> int:
    nodes = [node for tree in batch.trees for node in tree.nodes if node.n_leaves]
    return sum(len(node.token_ids) for node in nodes)


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("prefetch", [False, True])
async def test_ranks_get_equally_many_batches_and_every_tree_once(
    run: AsyncRun, client: AsyncClient, service: LocalService, world: int, prefetch: bool
) -> None:
    ranks = await asyncio.gather(
        *(consume(run, rank, world, slow=rank == 0, prefetch=prefetch) for rank in range(world))
    )
    check_steps(list(ranks))
    assert [batch.step for batch in ranks[0]] == [1, 2, 3, 4, 5]
    assert [batch.global_trees for batch in ranks[0]] == [4, 4, 4, 4, 2]
    for shares in zip(*ranks, strict=True):
        largest = max(unique_tokens_of_tree(share) for share in shares)
        assert max(map(unique_tokens, shares)) - min(map(unique_tokens, shares)) <= largest
    assert (await service.store.group_state("run", "default")).acknowledged == TASKS
    assert (await client.audit()).violations == []


def unique_tokens_of_tree(batch: AsyncBatch) -> int:
    return max((sum(len(n.token_ids) for n in tree.nodes if n.n_leaves) for tree in batch.trees), default=0)


async def test_ranks_wait_together_while_trees_grow(client: AsyncClient, service: LocalService) -> None:
    run = await client.create_run("run", **RUN)
    ranks = [asyncio.create_task(consume(run, rank, 2)) for rank in range(2)]
    await run.submit(tasks(1, 6))
    await run.submit(tasks(7, TASKS - 6))
    await run.close()
    check_steps([await rank for rank in ranks])


async def test_a_share_may_be_empty_and_says_what_to_do(run: AsyncRun) -> None:
    ranks = await asyncio.gather(*(consume(run, rank, 8) for rank in range(8)))
    check_steps(list(ranks))
    empty = [batch for batches in ranks for batch in batches if not len(batch)]
    assert empty
    with pytest.raises(InvalidInput, match=r"this rank's share of step \d has no samples: skip the forward pass"):
        empty[0].to_numpy()


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("point", ["before", "held", "acked"])
async def test_a_rank_that_comes_back_gets_its_share_of_the_step_it_was_in(
    run: AsyncRun, world: int, point: str
) -> None:
    """A rank that is gone gives nothing back, so a new iterator beside it is what comes back. Another one is slow."""
    lost = run.batches(trees=4, rank=1, world=world)
    others = asyncio.gather(*(consume(run, rank, world, slow=rank == 0) for rank in range(world) if rank != 1))
    got = [await anext(lost), await anext(lost)]
    if point == "acked":
        await got[1].ack()
    if point == "before":
        await lost.aclose()
    again = await consume(run, 1, world)
    if point == "acked":
        assert again[0].step == 3
        mine = got + again
    else:
        assert again[0].step == 2
        assert (tree_ids(again[0]), figures(again[0])) == (tree_ids(got[1]), figures(got[1]))
        mine = got[:1] + again
    check_steps([*await others, mine])


async def test_the_world_may_change_between_steps(run: AsyncRun) -> None:
    seen: list[str] = []
    for world in (2, 3, 1, 4):
        ranks = [run.batches(trees=4, rank=rank, world=world, ack="manual") for rank in range(world)]
        shares = [await anext(batches) for batches in ranks]
        seen += [tree_id for share in shares for tree_id in tree_ids(share)]
        for share in shares:
            await share.ack()
        for batches in ranks:
            await batches.aclose()
    rest = await consume(run, 0, 1)
    assert Counter(seen + [tree_id for batch in rest for tree_id in tree_ids(batch)]).most_common(1)[0][1] == 1
    assert [batch.step for batch in rest] == [5]


async def test_a_step_that_nobody_acknowledged_is_shared_anew_by_another_world(run: AsyncRun) -> None:
    old = [await anext(run.batches(trees=4, rank=rank, world=2)) for rank in range(2)]
    new = [await anext(run.batches(trees=4, rank=rank, world=3)) for rank in range(3)]
    assert figures(old[0]) == figures(new[0])
    assert sorted(t for share in old for t in tree_ids(share)) == sorted(t for share in new for t in tree_ids(share))
    with pytest.raises(ShareConflict, match="step 1 of group 'default' of run 'run' is shared by 3 ranks, not by 2"):
        await old[0].ack()
    await new[0].ack()
    with pytest.raises(ShareConflict, match="is shared by 3 ranks, not by 2: start all ranks from the newest"):
        await anext(run.batches(trees=4, rank=0, world=2))


async def test_ranks_start_again_from_a_checkpoint_with_another_world(run: AsyncRun, client: AsyncClient) -> None:
    old = [run.batches(trees=4, rank=rank, world=2, ack="manual") for rank in range(2)]
    trained: list[str] = []
    state: Any = None
    for _ in range(3):
        shares = [await anext(batches) for batches in old]
        if shares[0].step == 2:
            states = [await batches.state_dict(through=share) for batches, share in zip(old, shares, strict=True)]
            assert states[0] == states[1]  # each names the whole step
            state = states[0]
        if shares[0].step <= 2:
            trained += [tree_id for share in shares for tree_id in tree_ids(share)]
        for share in shares:
            await share.ack()
    held = [await anext(batches) for batches in old]

    new = [run.batches(trees=4, rank=rank, world=3, state=state) for rank in range(3)]
    first = [await anext(batches) for batches in new]  # one after the other: no move undoes another
    assert {share.step for share in first} == {3}
    for batches, share in zip(old, held, strict=True):
        with pytest.raises(GroupMoved):
            await share.ack()
        with pytest.raises(GroupMoved):
            await anext(batches)

    async def rest(batches: Any, share: AsyncBatch) -> list[AsyncBatch]:
        return [share, *[batch async for batch in batches]]

    ranks = list(await asyncio.gather(*map(rest, new, first)))
    check_steps(ranks, TASKS - len(trained))
    trained += [tree_id for batches in ranks for batch in batches for tree_id in tree_ids(batch)]
    assert Counter(Counter(trained).values()) == {1: TASKS}
    assert (await client.audit()).violations == []


async def test_shares_that_are_held_are_acknowledged_together(run: AsyncRun, service: LocalService) -> None:
    one, two = (run.batches(trees=4, rank=rank, world=2, ack="manual") for rank in range(2))
    ones, twos = [batch async for batch in one], [batch async for batch in two]
    assert len(ones) == len(twos) == 5
    await one.ack_through(ones[3])
    assert (await service.store.group_state("run", "default")).acknowledged == 0
    await two.ack_through(twos[2])
    assert (await one.state_dict())["steps"] == 4
    assert (await two.state_dict())["steps"] == 3
    assert (await two.state_dict(through=twos[4]))["acknowledged"] == [[1, TASKS]]
    done = sum(len(share.deliveries) for share in (*ones[:3], *twos[:3]))
    assert (await service.store.group_state("run", "default")).acknowledged == done


async def test_a_short_step_is_short_for_all_ranks(client: AsyncClient) -> None:
    run = await client.create_run("run", **RUN)
    await run.submit(tasks(1, 3))
    one = run.batches(trees=4, rank=0, world=2, max_wait_s=0.0, ack="manual")
    share = await anext(one)
    other = await anext(run.batches(trees=4, rank=1, world=2, ack="manual"))
    assert figures(share) == figures(other)
    assert 1 <= share.global_trees <= 3


async def test_a_drain_is_told_to_every_rank(client: AsyncClient) -> None:
    run = await open_run(client)

    async def ended() -> bool:
        status = await run.status()
        return status.growing == status.waiting == 0

    await eventually(ended)
    await client.drain()
    for rank in range(2):
        batches = run.batches(trees=4, rank=rank, world=2, ack="manual")
        assert [(await anext(batches)).step for _ in range(5)] == [1, 2, 3, 4, 5]
        with pytest.raises(Drained):
            await anext(batches)


async def test_a_group_is_for_ranks_or_for_independent_consumers(run: AsyncRun) -> None:
    share = await anext(run.batches(trees=4, rank=0, world=1, ack="manual"))
    with pytest.raises(InvalidInput, match="is consumed by ranks, which hold 1 of its global batches"):
        await anext(run.batches(trees=4))
    await share.ack()
    assert sum([len(batch.deliveries) async for batch in run.batches(trees=4)]) == TASKS - len(share.deliveries)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"rank": 0}, "rank and world must be given both"), ({"rank": 2, "world": 2}, "rank must be 0 to world - 1")],
)
def test_ranks_that_are_none_are_refused(options: dict[str, Any], sentence: str) -> None:
    from treeroll.client.stream import BatchOptions

    with pytest.raises(InvalidInput, match=sentence):
        BatchOptions(**options)

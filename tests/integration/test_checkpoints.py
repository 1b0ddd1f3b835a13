"""Acknowledgements tied to a trainer's checkpoints, in a whole service with either store."""

from typing import Any

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncBatch, AsyncClient, AsyncRun
from treeroll.coordinator.retention import Retention
from treeroll.errors import GroupMoved, InvalidInput, LeaseLost
from treeroll.testing.service import LocalService

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 16, "max_depth": 2}
TASKS = 10


@pytest.fixture
async def run(client: AsyncClient) -> AsyncRun:
    return await finished(client, "run")


async def finished(client: AsyncClient, run_id: str) -> AsyncRun:
    run = await client.create_run(run_id, **RUN)
    await run.submit([{"id": f"t{number}", "prompt": "Compute 1+1.\n"} for number in range(TASKS)])
    await run.close()

    async def ended() -> bool:
        return (await run.status()).ended

    await eventually(ended)
    return run


def seqs(batch: AsyncBatch) -> list[int]:
    return [delivery.delivery_seq for delivery in batch.deliveries]


async def rest(run: AsyncRun, **options: Any) -> list[int]:
    """Places in the feed of everything that still comes."""
    return [seq async for batch in run.batches(trees=4, **options) for seq in seqs(batch)]


async def test_whoever_acknowledges_by_hand_may_hold_all_batches_and_do_so_last(run: AsyncRun) -> None:
    async with run.batches(trees=3, ack="manual") as batches:
        held = [batch async for batch in batches]
        assert [seqs(batch) for batch in held] == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]
        assert (await batches.state_dict())["acknowledged"] == []
        await held[1].ack()
        assert (await batches.state_dict())["acknowledged"] == [[4, 6]]
        assert (await batches.state_dict(through=held[1]))["acknowledged"] == [[1, 6]]
        assert (await batches.state_dict(through=9))["acknowledged"] == [[1, 9]]
        await batches.ack_through(9)
        assert (await batches.state_dict())["acknowledged"] == [[1, 9]]
        with pytest.raises(
            InvalidInput, match="no batch that is out and not acknowledged has the tree of delivery_seq 9"
        ):
            await batches.ack_through(9)
    assert await rest(run) == [10]  # given back


async def test_a_batch_of_another_iterator_is_refused(run: AsyncRun) -> None:
    async with run.batches(trees=2, ack="manual") as one, run.batches(trees=2, ack="manual") as two:
        batch = await anext(one)
        with pytest.raises(InvalidInput, match="the batch is another iterator's"):
            await two.ack_through(batch)


@pytest.mark.parametrize("ack", ["on_next", "manual"])
async def test_what_a_checkpoint_does_not_name_comes_again_and_nothing_else(run: AsyncRun, ack: Any) -> None:
    async with run.batches(trees=2, ack=ack) as batches:
        await (await anext(batches)).ack()
        state = await batches.state_dict()
        for _ in range(2):
            await (await anext(batches)).ack()
        await anext(batches)
    assert state["acknowledged"] == [[1, 2]]
    assert await rest(run, state=state) == list(range(3, TASKS + 1))
    assert await rest(run) == []


async def test_a_state_can_be_loaded_into_batches_that_are_under_way(run: AsyncRun) -> None:
    async with run.batches(trees=2, ack="manual", prefetch=True) as batches:
        first = await anext(batches)
        state = await batches.state_dict(through=first)
        await (await anext(batches)).ack()
        await batches.load_state_dict(state)
        with pytest.raises(LeaseLost, match="moved on or were given back"):
            await first.ack()
        assert seqs(await anext(batches)) == [3, 4]
        assert (await batches.state_dict())["acknowledged"] == [[1, 2]]


async def test_a_trainer_whose_group_was_moved_is_told_at_every_turn(
    run: AsyncRun, client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    old = run.batches(trees=2, lease_s=1.0)
    other = run.batches(trees=2, ack="manual")
    batch, held = await anext(old), await anext(other)
    async with run.batches(trees=2, state=await old.state_dict()) as new:
        assert seqs(await anext(new)) == [1, 2]
        told = "group 'default' of run 'run' went to a saved state .* another trainer has taken over"
        for call in (batch.ack(), anext(old), held.ack(), other.ack_through(held), anext(other)):
            with pytest.raises(GroupMoved, match=told):
                await call

        async def renewal_failed() -> bool:
            return "another trainer has taken over" in caplog.text

        third = run.batches(trees=2, lease_s=1.0)
        await anext(third)
        await new.load_state_dict(await new.state_dict())
        await eventually(renewal_failed)
        await third.aclose()
        await other.aclose()
        assert seqs(await anext(new)) == [1, 2]
    assert (await client.audit()).violations == []


async def test_states_of_others_are_refused_by_name(run: AsyncRun, client: AsyncClient) -> None:
    async with run.batches(trees=2, group="g") as batches:
        await (await anext(batches)).ack()
        state = await batches.state_dict()
    other = await client.create_run("other", **RUN)
    with pytest.raises(InvalidInput, match="of group 'g' of run 'run', and was given to group 'g' of run 'other'"):
        other.batches(group="g", state=state)
    with pytest.raises(InvalidInput, match="and was given to group 'h' of run 'run'"):
        run.batches(group="h", state=state)
    with pytest.raises(InvalidInput, match="has format 9"):
        run.batches(group="g", state=state | {"format": 9})
    for nothing in ({}, {"step": 3}, state | {"acknowledged": [1, 2]}, state | {"seen": [[1]]}):
        with pytest.raises(InvalidInput, match="this is no state that"):
            run.batches(group="g", state=nothing)
    with pytest.raises(InvalidInput, match=r"has \[3, 2\], which is no range of trees"):
        run.batches(group="g", state=state | {"acknowledged": [[3, 2]]})
    with pytest.raises(InvalidInput, match="names tree 11 of the feed of run 'run', which has 10"):
        await rest(run, group="g", state=state | {"acknowledged": [[1, 11]]})
    with pytest.raises(InvalidInput, match="leaves out 999999999 trees before the last it names"):
        await rest(run, group="g", state=state | {"acknowledged": [[1_000_000_000, 1_000_000_000]]})
    assert await rest(run, group="g") == list(range(3, TASKS + 1))
    await client.delete_run("run")
    again = await finished(client, "run")
    with pytest.raises(InvalidInput, match="was saved of another run 'run': that one was created at"):
        await rest(again, group="g", state=state)
    assert len(await rest(again, group="g")) == TASKS


async def test_a_state_from_before_trees_expired_says_so(service: LocalService, run: AsyncRun) -> None:
    retention = Retention(service.coordinator, 0.0)
    async with run.batches(trees=4, group="g") as batches:
        await (await anext(batches)).ack()
        state = await batches.state_dict()
        await (await anext(batches)).ack()
        await retention.sweep(0.0)
    with pytest.raises(InvalidInput, match=r"does not name 4 of the first 8 trees .* from tree 5 on, .*have expired"):
        await rest(run, group="g", state=state)
    state["acknowledged"].append([1, 8])
    assert await rest(run, group="g", state=state) == [9, 10]


async def test_trees_that_a_group_goes_back_to_stay_as_long_as_they_should(
    service: LocalService, run: AsyncRun
) -> None:
    retention = service.coordinator, 100.0
    kept = Retention(*retention)
    async with run.batches(trees=10, group="g", ack="manual") as batches:
        state = await batches.state_dict()
        await (await anext(batches)).ack()
        await kept.sweep(0.0)
        await batches.load_state_dict(state)
        async with kept.turn:
            kept.start_again("run")  # what the service's own did
        await kept.sweep(100.0)
        assert kept.expired_trees == 0
        await (await anext(batches)).ack()
        await kept.sweep(150.0)
        assert kept.expired_trees == 0
        await kept.sweep(250.0)
        assert kept.expired_trees == 10


async def test_a_late_group_begins_with_what_is_new(client: AsyncClient, service: LocalService) -> None:
    run = await client.create_run("open", **RUN)
    await run.submit([{"id": "old", "prompt": "Compute 1+1.\n"}])

    async def one() -> bool:
        return (await run.status()).finished == 1

    await eventually(one)
    async with run.batches(trees=1, group="late", start="latest", ack="manual") as batches:
        assert (await batches.state_dict())["acknowledged"] == [[1, 1]]
        await run.submit([{"id": "new", "prompt": "Compute 1+1.\n"}])
        await run.close()
        assert [tree.task_id async for batch in batches for tree in batch.trees] == ["new"]


async def test_a_pause_longer_than_the_lease_is_told_in_one_sentence(run: AsyncRun) -> None:
    async with run.batches(trees=3, lease_s=1.0, ack="manual") as batches:
        batch = await anext(batches)
        renewal = batches._stream._leases._renewal
        assert renewal is not None
        renewal.cancel()  # as if the process had been stopped
        taken: list[int] = []

        async def others_have_them() -> bool:
            async with run.batches(trees=1, max_wait_s=0.0) as others:
                got = await anext(others)
                await got.ack()
                taken.extend(seqs(got))
            return {1, 2, 3} <= set(taken)

        await eventually(others_have_them)
        with pytest.raises(LeaseLost, match=r"the leases of trees .* moved on .* the other 0 of the batch are") as told:
            await batch.ack()
        assert "\n" not in str(told.value)
        await batches.ack_through(batch)  # it is settled: there is nothing to do
        assert (await batches.state_dict(through=batch))["acknowledged"] == []

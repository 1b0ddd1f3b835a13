"""Trees through torch's DataLoader, whose workers are forked or spawned: every tree once, also after a restart."""

import asyncio
import json
import pickle
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncRun, connect_async
from treeroll.errors import GroupMoved, InvalidInput, LeaseLost
from treeroll.testing.service import local_service

ROOT = Path(__file__).parents[2]
TASKS = 12


async def finished(run: AsyncRun) -> list[str]:
    """Trees of a closed run, which have all ended."""
    tree_ids = await run.submit([{"id": f"t{n}", "prompt": f"Compute {n}+1.\n", "answer": n + 1} for n in range(TASKS)])
    await run.close()

    async def ended() -> bool:
        return (await run.status()).ended

    await eventually(ended)
    return tree_ids


async def test_a_detached_batch_is_the_same_and_is_acknowledged_from_anywhere() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run = await client.create_run("r", recipe="flat", leaves=2, segment_tokens=16, max_depth=2, scorer="arith")
        await finished(run)
        async with run.batches(trees=4, ack="manual") as batches:
            batch = await anext(batches)
            copy = pickle.loads(pickle.dumps(batch.detach()))  # noqa: S301 - our own
            assert [sample.sample_id for sample in copy.samples] == [sample.sample_id for sample in batch.samples]
            assert copy.deliveries == batch.deliveries
            assert (copy.to_numpy()["completion_ids"] == batch.to_numpy()["completion_ids"]).all()
            with pytest.raises(InvalidInput, match="the batch is another iterator's"):
                await batches.ack_through(copy)
            await run.ack(copy)
            await run.ack(copy)
            assert (await service.store.group_state("r", "default")).acknowledged == 4
            second = (await anext(batches)).detach()
        with pytest.raises(LeaseLost, match="the other 0 of the batch are acknowledged"):
            await run.ack(second)  # its iterator gave it back
        share = await anext(run.batches(trees=4, group="ranks", rank=1, world=2))
        copy = pickle.loads(pickle.dumps(share.detach()))  # noqa: S301 - our own
        assert (copy.step, copy.global_samples, len(copy)) == (share.step, share.global_samples, len(share))
        await run.ack(copy)
        assert (await anext(run.batches(trees=4, group="ranks", rank=1, world=2))).step == 2
        async with run.batches(state=await batches.state_dict()) as moved:
            await anext(moved)
            with pytest.raises(GroupMoved):
                await run.ack(second)
        named = await run.collect([tree.tree_id for tree in batch.trees])
        await run.ack(named.detach())


@pytest.mark.slow
@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 2)])
async def test_a_loader_gives_every_tree_once_also_after_a_restart(method: str, workers: int, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run = await client.create_run("r", recipe="flat", leaves=2, segment_tokens=16, max_depth=2, scorer="arith")
        wanted = await finished(run)
        checkpoint = tmp_path / "checkpoint.json"
        for steps, code in ((3, 9), (0, 0)):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.support.loader", service.address, "r", str(checkpoint), method,
                str(workers), str(steps), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, stderr = await process.communicate()
            assert process.returncode == code, stderr.decode()
        assert Counter(json.loads(checkpoint.read_text())["weights"]) == Counter(wanted)
        assert (await service.store.group_state("r", "loader")).acknowledged == TASKS
        assert (await client.audit()).violations == []

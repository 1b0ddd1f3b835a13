"""A trainer scores what it was given: rewards go back to the service, and the batch at hand has the new credit."""

import asyncio
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import treeroll
from treeroll.client import AsyncBatch, Batch, Sample, connect_async
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.scorers.base import MAX_REWARD
from treeroll.store.base import Commit
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"leaves": 8, "segment_tokens": 32, "max_depth": 8, "seed": 5, "scorer": "client"}
GROWTHS: dict[str, dict[str, Any]] = {
    "treepo": {"recipe": "treepo"},
    "flat": {"recipe": "flat"},
    "cut nodes": {"recipe": "treerl", "leaves": 10, "branch": {"chains": 2, "places": 1, "rounds": 2, "forks": 2}},
    "no whole-path credit": {"recipe": "tree_grpo", "segment": {"name": "agent_step"}},
}


async def submitted(service: LocalService, count: int = 3, **changes: Any) -> treeroll.client.AsyncRun:
    service.start_replica("r0")
    client = await connect_async(service.address)
    run = await client.create_run("r", **RUN | changes)
    await run.submit(read_tasks(TASKS_FILE, limit=count))
    await run.close()
    return run


def values(samples: list[Sample]) -> list[float]:
    return [float(place % 3) for place, _ in enumerate(samples)]


def columns(sample: Sample) -> dict[str, Any]:
    found = {column.name: getattr(sample, column.name) for column in fields(sample)}
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in found.items()}


@pytest.mark.parametrize("growth", GROWTHS)
async def test_a_batch_has_the_credit_that_a_later_delivery_would_bring(growth: str) -> None:
    async with local_service() as service:
        run = await submitted(service, **GROWTHS[growth])
        async with run.batches(trees=3) as batches:
            batch = await anext(batches)
            trees, samples = batch.trees, batch.samples
            with pytest.raises(InvalidInput, match=r"none of these \d+ samples is trained on: nobody has scored them"):
                batch.to_numpy()
            counts = await batch.report_rewards(values(samples))
            assert (counts.applied, counts.repeated) == (len(samples), 0)
        again = await anext(run.batches(trees=3, group="later"))
        later = {sample.sample_id: columns(sample) for sample in again.samples}
        assert {sample.sample_id: columns(sample) for sample in batch.samples} == later
        assert batch.samples is samples
        assert [sample.reward for sample in samples] == values(samples)
        arrays, theirs = batch.to_numpy(), again.to_numpy()
        assert arrays["loss_mask"].any()
        assert arrays["advantages"].any()
        assert all((arrays[name] == theirs[name]).all() for name in arrays)
        credit = {(node.node_id, node.value, *node.rewards) for tree in trees for node in tree.nodes}
        assert credit == {(node.node_id, node.value, *node.rewards) for tree in again.trees for node in tree.nodes}
        assert [tree.n_scored for tree in trees] == [len(tree.samples) for tree in trees]


async def test_samples_without_a_reward_stay_masked_and_may_get_theirs_later() -> None:
    async with local_service() as service:
        run = await submitted(service, 1, recipe="flat")
        async with run.batches(trees=1) as batches:
            batch = await anext(batches)
            await batch.report_rewards([1.0, 0.0, *[None] * 6])
            assert batch.to_numpy()["loss_mask"].any(axis=1).tolist() == [True] * 2 + [False] * 6
            await batch.report_rewards([1.0] * 2 + [0.5] * 6, version=2)
            assert batch.to_numpy()["loss_mask"].any(axis=1).all()
            assert [sample.reward for sample in batch.samples] == [1.0] * 2 + [0.5] * 6


async def test_rewards_of_inner_nodes_and_those_of_others_are_taken_in() -> None:
    async with local_service() as service:
        run = await submitted(service, 2, recipe="treepo", advantage={"name": "mars2"})
        async with run.batches(trees=2) as batches:
            batch = await anext(batches)
            await run.report_rewards(
                [(s.tree_id, s.sample_id, value) for s, value in zip(batch, values(batch.samples), strict=True)]
            )
            assert {sample.reward for sample in batch.samples} == {None}
            await batch.refresh()
            before = [columns(sample)["advantages"] for sample in batch.samples]
            inner = batch.trees[0].nodes[1]
            await batch.report_rewards([(inner.tree_id, inner.path, 0.25)])
            assert inner.rewards[0].value == 0.25
            assert [columns(sample)["advantages"] for sample in batch.samples] != before


async def test_the_synchronous_client_does_the_same() -> None:
    def train(address: str) -> tuple[list[float | None], bool]:
        with treeroll.connect(address) as client:
            batch: Batch = next(client.run("r").batches(trees=2))
            rewards = iter(values(batch.samples))
            batch.score(lambda _: next(rewards))
            first = [sample.reward for sample in batch.samples]
            batch.refresh()
            return first, first == [sample.reward for sample in batch.samples]

    async with local_service() as service:
        await submitted(service, 2, recipe="flat")
        rewards, same = await asyncio.to_thread(train, service.address)
        assert same
        assert rewards == [float(place % 3) for place in range(16)]


async def one_batch(service: LocalService, **changes: Any) -> AsyncBatch:
    run = await submitted(service, 1, recipe="flat", **changes)
    return await anext(run.batches(trees=1))


async def test_rewards_as_large_as_they_may_be_leave_every_array_finite() -> None:
    async with local_service() as service:
        batch = await one_batch(service, advantage={"name": "rloo"})
        await batch.report_rewards([MAX_REWARD, -MAX_REWARD] * 4)
        for options in ({}, {"whiten": True}, {"fold_weights": True, "weigh": "samples"}):
            arrays = batch.to_numpy(**options)
            assert np.isfinite(arrays["rewards"]).all()
            assert np.isfinite(arrays["advantages"]).all()
            assert arrays["advantages"].any()
        with pytest.raises(InvalidInput, match=r", not finite or beyond 1e\+15"):
            await batch.report_rewards([2 * MAX_REWARD] * 8, version=2)


@pytest.mark.parametrize(
    ("rewards", "sentence"),
    [
        ([1.0] * 7, "7 rewards for the 8 samples of this batch"),
        ([], "0 rewards for the 8 samples"),
        ([1.0] * 7 + [("t", "0", 1.0)], "not both"),
        ([("t", "0")] * 8, "a reward of a node is"),
        ([1.0] * 7 + [float("nan")], "must be finite"),
        ([1.0] * 7 + ["good"], "must be a number"),
        ([1.0] * 7 + ["1.0"], "must be a number, got '1.0'"),
        ([1.0] * 7 + [b"1"], "must be a number, got b'1'"),
        ([1.0] * 7 + [{"score": 1.0}], "must be a number"),
        (set(map(float, range(8))), "rewards must be a list with one for each sample, in their order, got set"),
        (frozenset(map(float, range(8))), "in their order"),
        (dict.fromkeys(range(8), 1.0), "in their order, got an object"),
        ("1" * 8, "in their order, got text"),
        (b"\x01" * 8, "in their order, got bytes"),
        (1.0, "in their order, got a number"),
        ([("t", 0, 1.0)], "a reward of a node is"),
        ([(None, None, 1.0)], "a reward of a node is"),
    ],
)
async def test_rewards_that_fit_no_sample_are_refused_and_none_is_applied(rewards: Any, sentence: str) -> None:
    async with local_service() as service:
        batch = await one_batch(service)
        with pytest.raises(InvalidInput, match=sentence):
            await batch.report_rewards(rewards)
        await batch.refresh()
        assert {sample.reward for sample in batch.samples} == {None}


def fails(prompt: str, completion: str, answer: str | None, extra: Any) -> float:
    raise ValueError("no score today")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, r"nobody has scored them, so call batch.score\(function\) or batch.report_rewards"),
        ({"scorer": None}, "nobody has scored them"),
        ({"scorer": "python:tests.integration.test_reward_write_back:fails"}, "their scorer failed"),
    ],
)
async def test_a_batch_without_a_token_to_train_on_is_refused(changes: dict[str, Any], sentence: str) -> None:
    async with local_service() as service:
        batch = await one_batch(service, **changes)
        with pytest.raises(InvalidInput, match=f"none of these 8 samples is trained on: .*{sentence}"):
            batch.to_numpy()


def length(sample: Sample) -> float | None:
    return None if sample.index == 3 else len(sample.completion_ids) / 100


async def slow_length(sample: Sample) -> float | None:
    await asyncio.sleep(0)
    return length(sample)


@pytest.mark.parametrize("function", [length, slow_length])
async def test_a_batch_scores_itself(function: Any) -> None:
    async with local_service() as service:
        batch = await one_batch(service)
        counts = await batch.score(function)
        assert (counts.applied, counts.repeated) == (7, 0)
        assert [sample.reward for sample in batch.samples] == [length(sample) for sample in batch.samples]
        assert batch.to_numpy()["loss_mask"].any(axis=1).tolist() == [sample.index != 3 for sample in batch.samples]


async def test_rewards_that_the_runs_own_scorer_overrules_are_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    async with local_service() as service:
        batch = await one_batch(service, scorer="arith")
        await batch.report_rewards([7.0] * 8)
        assert "rewards of scorer 'client', version 1, are not in force for 8 samples of run 'r'" in caplog.text
        assert all(sample.reward in (0.0, 1.0) for sample in batch.samples)


class HeldStore(MemoryStore):
    """Keeps a commit of rewards waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()

    async def commit(self, commit: Commit, epoch: int) -> None:
        if commit.rewards:
            self.arrived.set()
            await self.go_on.wait()
        await super().commit(commit, epoch)


async def test_rewards_whose_caller_has_gone_count_in_the_credit_that_the_next_ones_bring() -> None:
    store = HeldStore()
    async with local_service(store) as service:
        run = await submitted(service, count=1, recipe="flat")
        async with run.batches(trees=1) as batches:
            batch = await anext(batches)
            first, second = [1.0, None] * 4, [None, 0.0] * 4
            gone = asyncio.create_task(batch.report_rewards(first))
            await store.arrived.wait()
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            follows = asyncio.create_task(batch.report_rewards(second))
            client = await connect_async(service.address)
            for _ in range(20):  # answers that come after both were heard
                await client.status()
            store.go_on.set()
            assert (await follows).applied == 4
            tree = await run.get_tree(batch.trees[0].tree_id)
        assert tree.n_scored == 8

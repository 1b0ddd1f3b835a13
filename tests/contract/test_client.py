"""The client against the service, over a proxy: what it sends, retries, renews, acknowledges and gives back."""

import asyncio
import contextlib
import gc
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from tests.support.eventually import eventually, eventually_sync
from tests.support.faulty_service import LONGEST_PROMPT, Proxy, RealService
from tests.support.ports import free_port

import treeroll
from treeroll.client import AsyncClient, Client, Run, channel
from treeroll.client.channel import CONNECT_S
from treeroll.client.stream import IDLE_WAIT_S
from treeroll.errors import (
    CallerError,
    InvalidInput,
    LeaseLost,
    RewardConflict,
    RunClosed,
    RunConflict,
    TaskConflict,
    TreerollError,
    Unavailable,
    UnknownNode,
    UnknownRun,
    UnknownTree,
)
from treeroll.pb.v1 import rollout_pb2
from treeroll.store.base import Commit
from treeroll.tasks import Task

# Trees leave in the order of their tasks.
RUN: dict[str, Any] = {
    "recipe": "flat", "leaves": 2, "segment_tokens": 16, "max_depth": 2, "order": "window", "window": 1, "ahead": 1000,
}  # fmt: skip
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def service() -> Iterator[RealService]:
    with RealService() as service:
        yield service


@pytest.fixture
def proxy(service: RealService) -> Iterator[Proxy]:
    with Proxy(service) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with treeroll.connect(proxy.address, timeout_s=300.0) as client:
        yield client


@pytest.fixture
def run_id() -> str:
    """Of the test's own: the service is that of all."""
    return f"run{next(NUMBERS)}"


@pytest.fixture
def run(client: Client, run_id: str) -> Run:
    return client.create_run(run_id, **RUN)


def tasks(count: int, failing: Sequence[int] = ()) -> list[Task]:
    """Tasks, of which some end without a sample."""
    return [
        Task(f"task{number}", prompt="x" * (LONGEST_PROMPT + 1 if number in failing else 1)) for number in range(count)
    ]


def ended(run: Run, count: int) -> list[str]:
    """Trees of so many tasks, which have all ended, in the order of the feed."""
    tree_ids = run.submit(tasks(count))
    eventually_sync(lambda: run.status().finished == count)
    return tree_ids


# -- connecting ------------------------------------------------------------------------------------------


def test_nobody_there_is_said_plainly() -> None:
    address = f"localhost:{free_port()}"
    with pytest.raises(Unavailable, match=f"nobody answers at {address}.*; is `treeroll serve` running there"):
        treeroll.connect(address, timeout_s=0.5)


@pytest.mark.timing
def test_nobody_there_is_said_soon() -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable):
        treeroll.connect(f"localhost:{free_port()}", timeout_s=60.0)
    assert time.monotonic() - started < 3 * CONNECT_S


@pytest.mark.parametrize("address", ["localhost", ":7070", "localhost:x", "localhost:70700", ""])
def test_an_address_must_name_host_and_port(address: str) -> None:
    with pytest.raises(InvalidInput, match="must be HOST:PORT"):
        treeroll.connect(address)


def test_a_token_never_travels_unencrypted_off_this_machine() -> None:
    with pytest.raises(InvalidInput, match="would travel unencrypted"):
        treeroll.connect("trainer.example.org:7070", token="secret")


def test_the_token_is_sent_with_every_call(proxy: Proxy) -> None:
    with treeroll.connect(proxy.address, token="secret") as client:
        client.status()
    assert {call.metadata["authorization"] for call in proxy.calls} == {"Bearer secret"}


def test_a_missing_tls_file_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"no\.pem cannot be read"):
        treeroll.connect("localhost:7070", tls="no.pem")


# -- runs, tasks, figures --------------------------------------------------------------------------------


def test_a_run_is_created_attached_to_and_refused_when_it_differs(client: Client, proxy: Proxy, run_id: str) -> None:
    given = {"recipe": "treepo", "leaves": 8}
    run = client.create_run(run_id, **given)
    assert run.run_id == run_id
    assert json.loads(proxy.requests("CreateRun")[0].config_json) == given
    assert run.status().config.items() >= given.items()
    client.create_run(run_id, **given)
    with pytest.raises(RunConflict, match="another configuration: leaves is 8 there and 9 here"):
        client.create_run(run_id, recipe="treepo", leaves=9)
    assert client.run(run_id).run_id == run_id
    with pytest.raises(UnknownRun, match="there is no run 'q'"):
        client.run("q")


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("r", {"leafs": 8}, "run 'r': unknown key 'leafs'"),
        ("r", {"leaves": 0}, "run 'r': 'leaves' should be greater than or equal to 1, got 0"),
        ("a b", {}, "run id 'a b' must be"),
        ("", {}, "run id '' must be"),
    ],
)
def test_a_bad_run_is_refused_without_a_call(
    client: Client, proxy: Proxy, name: str, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        client.create_run(name, **values)
    assert not proxy.requests("CreateRun")


def test_tasks_of_all_forms_arrive_as_they_were_given(run: Run, proxy: Proxy) -> None:
    chat = [{"role": "user", "content": "hi"}]
    ids = run.submit(
        [Task("a", prompt="x", answer="1", extra={"k": [1]}), {"messages": chat}, {"prompt_ids": [1, 99]}], 2
    )
    (request,) = proxy.requests("SubmitTasks")
    first, second, third = request.tasks
    assert (request.epoch, first.text, first.answer, first.extra_json) == (2, "x", "1", '{"k": [1]}')
    assert (second.task_id, second.messages_json, second.HasField("answer")) == (
        "task-2",
        '[{"role": "user", "content": "hi"}]',
        False,
    )
    assert (third.task_id, third.prompt_ids) == ("task-3", b"\1\0\0\0\x63\0\0\0")
    assert len(set(ids)) == 3
    with pytest.raises(InvalidInput, match=r"task 'task-1': the prompt has the token .*256"):
        run.submit([{"prompt_ids": [1, 256]}])


def test_many_tasks_travel_in_chunks_and_a_repeat_changes_nothing(run: Run, proxy: Proxy) -> None:
    first = run.submit(task for task in tasks(600))
    assert [len(request.tasks) for request in proxy.requests("SubmitTasks")] == [256, 256, 88]
    assert run.submit(tasks(600)) == first
    assert run.status().submitted == len(first) == 600


def test_large_tasks_are_chunked_by_size_and_too_large_ones_named(run: Run, proxy: Proxy) -> None:
    run.submit([Task(f"t{n}", prompt="x", extra={"k": "x" * 6_000_000}) for n in range(4)])
    assert [len(request.tasks) for request in proxy.requests("SubmitTasks")] == [2, 2]
    with pytest.raises(InvalidInput, match="task 'big' has 32 MiB, at most 31 MiB"):
        run.submit([Task("big", prompt="x" * (32 * 2**20))])


def test_bad_submissions_are_typed_errors(run: Run) -> None:
    run.submit([{"id": "a", "prompt": "x"}])
    with pytest.raises(TaskConflict, match=r"task 'a' of epoch 0 exists in run .* with other content"):
        run.submit([{"id": "a", "prompt": "y"}])
    with pytest.raises(InvalidInput, match="task 2: no prompt"):
        run.submit([{"prompt": "x"}, {"answer": "y"}])
    with pytest.raises(InvalidInput, match="put a single one in a list"):
        run.submit(cast(Any, {"prompt": "x"}))
    assert run.close().state == "closed"
    with pytest.raises(RunClosed):
        run.submit([{"id": "b", "prompt": "x"}])
    assert run.cancel().state == "cancelled"


def test_figures_of_service_run_and_audit() -> None:
    with RealService() as service, treeroll.connect(service.local.address) as client:
        run = client.create_run("r", **RUN)
        ended(run, 3)
        for _ in range(2):
            service.local.coordinator.figures.broke("Bounded", "a queue has no end")
        lost = Commit(
            runs={"bad": rollout_pb2.Run(run_id="bad").SerializeToString()}, tasks={"bad": {"0:a": ("t", "")}}
        )
        service.do(service.store.commit(lost, service.local.coordinator.epoch))
        status = client.status()
        assert (status.run_ids, status.replicas[0].slots, status.violations) == (["r"], 16, {"Bounded": 2})
        assert status.engine is not None
        assert status.engine.block_size == 32
        assert (run.status().submitted, run.status().finished, run.status().ended) == (3, 3, False)
        assert "NoAckedLoss" in [violation.invariant for violation in client.audit().violations]
        drained = client.drain()
        assert (drained.version, drained.draining) == (treeroll.__version__, True)
        assert not client.undrain().draining


def test_get_tree(client: Client, run: Run) -> None:
    (tree_id,) = ended(run, 1)
    with run.batches(trees=1) as batches:
        (delivered,) = next(batches).trees
    for tree in (client.get_tree(tree_id), run.get_tree(tree_id)):
        assert tree.tree_id == tree_id
        assert [node.node_id for node in tree.nodes] == [node.node_id for node in delivered.nodes]
        assert [sample.sample_id for sample in tree.samples] == [sample.sample_id for sample in delivered.samples]
        assert len(tree.samples) == 2
    with pytest.raises(UnknownTree, match="there is no tree 'no'"):
        client.get_tree("no")


def test_rewards_are_written_by_path_or_node_id(run: Run) -> None:
    (tree_id,) = ended(run, 1)
    one, other = (sample.sample_id.removeprefix(f"{tree_id}:") for sample in run.get_tree(tree_id).samples)
    assert run.report_rewards([(tree_id, one, 1), (tree_id, f"{tree_id}:{other}", 0.5)], scorer="judge") == (2, 0)
    assert run.report_rewards([(tree_id, one, 1.0)], scorer="judge") == (0, 1)
    written = {
        (node.path, reward.scorer, reward.version): reward.value
        for node in run.get_tree(tree_id).nodes
        for reward in node.rewards
    }
    assert written == {(one, "judge", 1): 1.0, (other, "judge", 1): 0.5}
    with pytest.raises(RewardConflict):
        run.report_rewards([(tree_id, one, 0.0)], scorer="judge")
    with pytest.raises(UnknownNode):
        run.report_rewards([(tree_id, "7", 0.0)])
    assert run.report_rewards([]) == (0, 0)


@pytest.mark.parametrize(
    ("node", "value", "sentence"),
    [
        ("0.0", float("nan"), "reward of node t:0.0 must be finite, got nan"),
        ("t:0.0", float("inf"), "reward of node t:0.0 must be finite, got inf"),
        ("0.0", "good", "reward of node t:0.0 must be a number, got 'good'"),
        ("u:0.0", 1.0, "node 'u:0.0' is not in tree 't'"),
        ("0..0", 1.0, "'0..0' names no node of tree 't'"),
    ],
)
def test_bad_rewards_are_refused_without_a_call(run: Run, proxy: Proxy, node: str, value: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        run.report_rewards([("t", "0", 1.0), ("t", node, value)])
    assert not proxy.requests("ReportRewards")


# -- faults ----------------------------------------------------------------------------------------------


def test_unavailable_is_retried_and_other_errors_are_not(run: Run, proxy: Proxy) -> None:
    proxy.failures = [grpc.StatusCode.UNAVAILABLE, Unavailable("the store is away")]
    assert run.status().state == "open"
    assert len(proxy.requests("GetRun")) == 3
    proxy.failures = [TreerollError("broken")]
    with pytest.raises(TreerollError, match="broken"):
        run.status()
    assert len(proxy.requests("GetRun")) == 4


def test_unavailable_is_raised_when_time_is_up(run: Run, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "FIRST_BACKOFF_S", 1e6)  # longer than calls are repeated
    proxy.failures = [Unavailable("the store is away")]
    with pytest.raises(Unavailable, match="the store is away"):
        run.status()


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, CallerError, "refuses this client: ordered; check token="),
        (grpc.StatusCode.PERMISSION_DENIED, CallerError, "does not allow GetRun to this token"),
        (grpc.StatusCode.UNIMPLEMENTED, TreerollError, "does not know GetRun"),
        (grpc.StatusCode.DATA_LOSS, TreerollError, "GetRun at .* failed: ordered"),
    ],
)
def test_statuses_without_our_metadata(
    run: Run, proxy: Proxy, code: grpc.StatusCode, kind: type[TreerollError], sentence: str
) -> None:
    proxy.failures = [code]
    with pytest.raises(kind, match=sentence):
        run.status()


def test_a_restart_of_the_service_is_survived_while_waiting_for_trees(proxy: Proxy, run: Run) -> None:
    batches = run.batches(trees=1)
    got: list[list[str]] = []
    reader = threading.Thread(target=lambda: got.extend([tree.task_id for tree in batch.trees] for batch in batches))
    reader.start()
    eventually_sync(lambda: proxy.requests("LeaseTrees"))
    proxy.close()
    proxy.open()
    run.submit(tasks(1))
    run.close()
    reader.join(300)
    assert got == [["task0"]]


# -- batches ---------------------------------------------------------------------------------------------


def task_ids(batch: Any) -> list[str]:
    return [tree.task_id for tree in batch.trees]


@pytest.mark.parametrize("prefetch", [False, True])
def test_answers_with_trees_that_get_lost_cost_no_lease(
    run: Run, run_id: str, proxy: Proxy, service: RealService, prefetch: bool
) -> None:
    trees = ended(run, 6)
    proxy.lost_answers = ["LeaseTrees"] * 3
    batches = run.batches(trees=2, prefetch=prefetch, max_wait_s=0.0)
    got = [tree.tree_id for tree in next(batches).trees]
    assert not proxy.lost_answers
    leased = service.leased(run_id)
    assert set(got) <= set(leased)
    given = {delivery.tree_id: delivery.lease_id for delivery in proxy.deliveries()}
    assert {delivery.lease_id for delivery in proxy.deliveries()} == set(given.values())
    if not prefetch:
        assert leased == got
    while len(got) < len(trees):
        got += [tree.tree_id for tree in next(batches).trees]
    batches.close()
    assert sorted(got) == sorted(trees)


def test_batches_come_full_then_short_and_end(run: Run, service: RealService) -> None:
    run.submit(tasks(5))
    run.close()
    assert [task_ids(batch) for batch in run.batches(trees=2)] == [["task0", "task1"], ["task2", "task3"], ["task4"]]
    assert len(service.acked(run.run_id)) == 5


def test_asking_for_the_next_batch_acknowledges_the_one_before(run: Run, service: RealService) -> None:
    ids = run.submit(tasks(4))
    with run.batches(trees=2) as batches:
        next(batches)
        assert (service.acked(run.run_id), service.leased(run.run_id)) == ([], ids[:2])
        next(batches)
        assert (service.acked(run.run_id), service.leased(run.run_id)) == (ids[:2], ids[2:])
    assert (service.acked(run.run_id), service.leased(run.run_id)) == (ids[:2], [])


def test_an_acknowledged_batch_stays_acknowledged_after_break(run: Run, service: RealService) -> None:
    ids = run.submit(tasks(4))
    for batch in run.batches(trees=2):
        batch.ack()
        batch.ack()
        break
    assert service.acked(run.run_id) == ids[:2]


@pytest.mark.parametrize("leave", ["break", "exception", "return"])
def test_leaving_the_loop_gives_the_batch_back(run: Run, service: RealService, proxy: Proxy, leave: str) -> None:
    run.submit(tasks(2))

    def consume() -> None:
        for _ in run.batches(trees=2):
            if leave == "exception":
                raise ArithmeticError
            if leave == "return":
                return
            break

    with contextlib.suppress(ArithmeticError):
        consume()
    eventually_sync(lambda: not service.leased(run.run_id))
    assert service.acked(run.run_id) == []
    assert proxy.requests("ReleaseTrees")[0].lease_ids == [delivery.lease_id for delivery in proxy.deliveries()]
    assert next(run.batches(trees=2)).deliveries[0].times_delivered == 2


def test_a_batch_can_be_given_back_by_hand(run: Run, service: RealService) -> None:
    run.submit(tasks(2))
    with run.batches(trees=2) as batches:
        batch = next(batches)
        batch.release()
        assert service.leased(run.run_id) == []
        with pytest.raises(LeaseLost):
            batch.ack()
        assert task_ids(next(batches)) == ["task0", "task1"]


def test_ack_names_the_trees_that_moved_on_and_acknowledges_the_others(run: Run, service: RealService) -> None:
    ids = run.submit(tasks(3))
    with run.batches(trees=3) as batches:
        batch = next(batches)
        service.take_away(run.run_id, batch.deliveries[1].lease_id)
        with pytest.raises(LeaseLost, match=f"trees {ids[1]} moved on.*the other 2 of the batch are acknowledged"):
            batch.ack()
        assert (batch.lost, service.acked(run.run_id)) == ([ids[1]], [ids[0], ids[2]])


def test_a_lease_that_moved_on_does_not_stop_the_loop(
    run: Run, service: RealService, caplog: pytest.LogCaptureFixture
) -> None:
    ids = run.submit(tasks(3))
    with run.batches(trees=2) as batches:
        service.take_away(run.run_id, next(batches).deliveries[0].lease_id)
        run.close()
        assert task_ids(next(batches)) == ["task2"]
    assert service.acked(run.run_id) == ids[1:2]
    assert f"trees {ids[0]} moved on" in caplog.text


def test_held_leases_are_renewed_while_the_caller_computes(run: Run, service: RealService, proxy: Proxy) -> None:
    ids = run.submit(tasks(1))
    with run.batches(trees=1, lease_s=1.0) as batches:
        batch = next(batches)
        eventually_sync(lambda: len(proxy.requests("RenewLeases")) >= 3)
        batch.ack()
    assert service.acked(run.run_id) == ids


def test_failures_ride_along_and_do_not_count_as_trees(run: Run) -> None:
    run.submit(tasks(4, failing=[0, 2]))
    run.close()
    (batch,) = run.batches(trees=2)
    assert task_ids(batch) == ["task1", "task3"]
    assert [failure.task_id for failure in batch.failures] == ["task0", "task2"]


def test_nothing_but_failures_is_logged_and_acknowledged(
    run: Run, service: RealService, caplog: pytest.LogCaptureFixture
) -> None:
    run.submit(tasks(3, failing=range(3)))
    run.close()
    assert list(run.batches(trees=2)) == []
    assert len(service.acked(run.run_id)) == 3
    assert re.search("task task1 ended without a sample: .*the prompt is too long", caplog.text)


def test_nothing_but_failures_is_given_to_who_asks_for_it(run: Run) -> None:
    run.submit(tasks(3, failing=range(3)))
    run.close()
    assert [(len(batch), len(batch.failures)) for batch in run.batches(trees=2, allow_empty=True)] == [(0, 3)]


def test_an_open_run_waits_for_a_full_batch_unless_told_otherwise(run: Run, proxy: Proxy) -> None:
    run.submit(tasks(1))
    with run.batches(trees=2, max_wait_s=0.3) as batches:
        assert task_ids(next(batches)) == ["task0"]
    first, *others = (request.wait_s for request in proxy.requests("LeaseTrees"))
    assert first == IDLE_WAIT_S
    assert max(others) <= 0.3
    assert others[-1] == 0.0


def test_every_group_gets_every_tree_and_consumers_share(run: Run) -> None:
    run.submit(tasks(4))
    run.close()
    assert sum(len(batch.trees) for batch in run.batches(trees=4, group="a")) == 4
    with run.batches(trees=2, group="b") as one, run.batches(trees=2, group="b") as two:
        shares = [task_ids(next(one)), task_ids(next(two))]
        assert sorted(itertools.chain(*shares)) == ["task0", "task1", "task2", "task3"]


def test_with_prefetch_every_tree_comes_once(run: Run, service: RealService) -> None:
    run.submit(tasks(7))
    run.close()
    seen = [task_id for batch in run.batches(trees=2, prefetch=True) for task_id in task_ids(batch)]
    assert sorted(seen) == sorted(f"task{i}" for i in range(7))
    assert service.leased(run.run_id) == []


def test_what_was_fetched_ahead_is_given_back_with_the_batch(run: Run, service: RealService) -> None:
    ended(run, 4)
    with run.batches(trees=2, prefetch=True) as batches:
        next(batches)
        eventually_sync(lambda: len(service.leased(run.run_id)) == 4)
    assert service.leased(run.run_id) == []
    assert service.acked(run.run_id) == []


def test_a_run_that_vanishes_ends_the_loop_with_its_error(client: Client, run: Run) -> None:
    batches = run.batches(trees=1)
    run.cancel()
    client.delete_run(run.run_id)
    with pytest.raises(UnknownRun):
        next(batches)
    with pytest.raises(StopIteration):
        next(batches)


# -- threads, loops, processes ---------------------------------------------------------------------------


async def test_the_synchronous_client_works_inside_a_running_loop(proxy: Proxy, run_id: str) -> None:
    with treeroll.connect(proxy.address) as client:
        run = client.create_run(run_id, **RUN)
        run.submit(tasks(1))
        run.close()
        assert [task_ids(batch) for batch in run.batches()] == [["task0"]]


async def test_the_asynchronous_client_does_the_same(service: RealService, proxy: Proxy, run_id: str) -> None:
    async with await treeroll.connect_async(proxy.address) as client:
        run = await client.create_run(run_id, **RUN)
        ids = await run.submit(tasks(5))
        await run.close()
        seen = []
        async with run.batches(trees=2) as batches:
            async for batch in batches:
                seen.append(task_ids(batch))
                await batch.ack()
                if len(seen) == 2:
                    break
        assert seen == [["task0", "task1"], ["task2", "task3"]]
        assert service.acked(run_id) == ids[:4]
        assert [task_ids(batch) async for batch in run.batches(trees=2)] == [["task4"]]
        assert (await run.status()).ended
        assert (await run.report_rewards([(ids[0], "0", 1.0)])).applied == 1
        assert (await client.get_tree(ids[0])).tree_id == ids[0]


async def test_an_abandoned_asynchronous_iterator_gives_back(service: RealService, proxy: Proxy, run_id: str) -> None:
    async with await treeroll.connect_async(proxy.address) as client:
        await abandon(client, run_id)
        gc.collect()

        async def given_back() -> bool:
            return not service.leased(run_id)

        await eventually(given_back)
        assert len(proxy.requests("ReleaseTrees")) == 1


async def abandon(client: AsyncClient, run_id: str) -> None:
    run = await client.create_run(run_id, **RUN)
    await run.submit(tasks(2))
    async for _ in run.batches(trees=2):
        break


async def test_cancelling_a_waiting_consumer_ends_it(service: RealService, proxy: Proxy, run_id: str) -> None:
    async with await treeroll.connect_async(proxy.address) as client:
        run = await client.create_run(run_id, **RUN)
        await run.submit(tasks(1))
        waiting = asyncio.create_task(anext(run.batches(trees=2)))

        async def holding() -> bool:
            return bool(service.leased(run_id))

        await eventually(holding)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert service.leased(run_id) == []


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_trees_of_an_answer_that_never_came_are_given_back(
    service: RealService, proxy: Proxy, run_id: str, how: str, prefetch: bool
) -> None:
    async with await treeroll.connect_async(proxy.address) as client:
        run = await client.create_run(run_id, **RUN)
        first = await run.submit(tasks(2))
        batches = run.batches(trees=2, prefetch=prefetch)
        await anext(batches)
        proxy.unheard = {"LeaseTrees"}
        await run.submit(tasks(6))

        async def grown() -> bool:
            return (await run.status()).finished == 6

        await eventually(grown)
        waiting = asyncio.create_task(anext(batches))

        async def leased() -> bool:
            return len(proxy.deliveries()) > 2 and service.acked(run_id) == first

        await eventually(leased)
        if how == "closed":
            await batches.aclose()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert service.leased(run_id) == []
        assert service.acked(run_id) == first


def child(code: str, address: str, *arguments: str, run_id: str = "") -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'services'}:{root}", "ADDRESS": address, "RUN": run_id}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed and complained of, once it has ended; one that hangs is killed, and fails the test."""
    try:
        return process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


@pytest.mark.parametrize("trees", [2, 3])  # interrupted in the loop's body, and while waiting for the third tree
def test_ctrl_c_gives_back(service: RealService, proxy: Proxy, run: Run, trees: int) -> None:
    run.submit(tasks(2))
    process = child(
        f"""
        import os, signal, treeroll
        run = treeroll.connect(os.environ["ADDRESS"]).run(os.environ["RUN"])
        for batch in run.batches(trees={trees}):
            print("training", flush=True)
            signal.pause()
        """,
        proxy.address,
        run_id=run.run_id,
    )
    eventually_sync(lambda: service.leased(run.run_id))
    if trees == 2 and process.stdout is not None:
        assert process.stdout.readline() == "training\n"
    process.send_signal(signal.SIGINT)
    _, stderr = finished(process)
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    eventually_sync(lambda: not service.leased(run.run_id))
    assert service.acked(run.run_id) == []


def test_ctrl_c_does_not_wait_for_the_service(proxy: Proxy, run: Run) -> None:
    proxy.unheard = {"LeaseTrees"}
    process = child(
        """
        import os, treeroll
        run = treeroll.connect(os.environ["ADDRESS"], timeout_s=100000).run(os.environ["RUN"])
        next(run.batches())
        """,
        proxy.address,
        run_id=run.run_id,
    )
    eventually_sync(lambda: proxy.requests("LeaseTrees"))
    process.send_signal(signal.SIGINT)
    _, stderr = finished(process)
    assert stderr.rstrip().endswith("KeyboardInterrupt")


def test_a_process_that_ends_gives_back(service: RealService, proxy: Proxy, run: Run) -> None:
    run.submit(tasks(2))
    process = child(
        """
        import os, treeroll
        run = treeroll.connect(os.environ["ADDRESS"]).run(os.environ["RUN"])
        batches = run.batches(trees=2)
        batch = next(batches)
        """,
        proxy.address,
        run_id=run.run_id,
    )
    _, stderr = finished(process)
    assert (process.returncode, stderr) == (0, "")
    assert [(delivery.delivery_seq, delivery.times_delivered) for delivery in proxy.deliveries()] == [(1, 1), (2, 1)]
    assert service.leased(run.run_id) == []


def test_importing_the_client_imports_no_engine_and_no_cluster() -> None:
    process = child(
        """
        import sys, treeroll.client, treeroll.tasks
        heavy = {"torch", "vllm", "ray", "redis", "transformers", "pyarrow", "pandas"}
        ours = {"core", "coordinator", "store", "generator", "feed", "scorers"}
        found = heavy & set(sys.modules) | {f"treeroll.{name}" for name in ours} & set(sys.modules)
        sys.exit(f"imported: {found}" if found else 0)
        """,
        "",
    )
    _, stderr = finished(process)
    assert (process.returncode, stderr) == (0, "")


# Every case in a process of its own that has not used gRPC yet, forked by one that has imported everything.
FORKS = {
    "a new client": ("client = treeroll.connect(address)", "connect"),
    "an asynchronous client": ("client = treeroll.connect(address)", "lambda: asyncio.run(connect_async())"),
    "after the parent's is closed": ("client = treeroll.connect(address); client.close()", "connect"),
    "after the parent's is gone": ("connect(); gc.collect()", "connect"),
    "after an asynchronous one": ("asyncio.run(connect_async())", "connect"),
    "the parent's client": ("client = treeroll.connect(address)", "client.status"),
    "the parent's run": ("run = treeroll.connect(address).create_run('r')", "run.status"),
    "the parent's batches": ("batches = treeroll.connect(address).create_run('r').batches()", "lambda: next(batches)"),
    "a child of a child": ("client = treeroll.connect(address)", "lambda: in_child(connect)"),
    # Called, not watched: while a thread of gRPC watches a channel's state, fork itself crashes in the child.
    "a channel of others": ("channel = grpc.insecure_channel(address); unknown_method(channel)", "connect"),
    "nothing before the fork": ("", "lambda: (connect(), in_child(connect))"),
}
FORKED = """
    import asyncio, gc, json, multiprocessing, os, sys
    import grpc, treeroll, treeroll.client
    from treeroll.errors import CallerError

    address = os.environ["ADDRESS"]
    fork = multiprocessing.get_context("fork")

    def in_child(work):
        told = fork.SimpleQueue()
        process = fork.Process(target=lambda: told.put(outcome(work)))
        process.start()
        process.join()
        return told.get() if not told.empty() else f"exit {process.exitcode}"

    def outcome(work):
        try:
            return work()
        except CallerError as error:
            return f"told: {error}"

    def connect():
        with treeroll.connect(address) as client:
            return client.status().version

    async def connect_async():
        async with await treeroll.connect_async(address) as client:
            return (await client.status()).version

    def unknown_method(channel):
        try:
            channel.unary_unary("/none/None")(b"", wait_for_ready=True, timeout=300)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED, error

    def case(before, work):
        names = dict(globals())
        exec(before, names)
        return in_child(eval(work, names))

    print(json.dumps({how: in_child(lambda: case(*texts)) for how, texts in json.loads(sys.argv[1]).items()}))
"""
TOLD = (
    "told: this process was forked from one that used gRPC, which does not survive fork: start it with the method "
    "'spawn' or 'forkserver' of multiprocessing"
)


@pytest.fixture(scope="module")
def told(service: RealService) -> dict[str, Any]:
    """What the child of each case says."""
    stdout, stderr = finished(child(FORKED, service.local.address, json.dumps(FORKS)))
    assert stdout, stderr
    return cast(dict[str, Any], json.loads(stdout))


@pytest.mark.parametrize("how", [how for how in FORKS if how != "nothing before the fork"])
def test_a_forked_child_is_told_at_once_what_to_do(told: dict[str, Any], how: str) -> None:
    assert str(told[how]).startswith(TOLD)


def test_the_first_connection_may_come_after_the_fork(told: dict[str, Any]) -> None:
    version, grandchild = told["nothing before the fork"]
    assert version == treeroll.__version__
    assert grandchild.startswith(TOLD)  # its parent had connected


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_start_methods_work_beside_a_connected_parent(service: RealService, method: str, tmp_path: Path) -> None:
    script = tmp_path / "started.py"  # what is started so imports its parent's file
    script.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, os, treeroll

            def version():
                with treeroll.connect(os.environ["ADDRESS"]) as client:
                    print(client.status().version, flush=True)

            if __name__ == "__main__":
                version()
                process = multiprocessing.get_context("{method}").Process(target=version)
                process.start()
                process.join()
                version()
            """
        )
    )
    process = child(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')", service.local.address)
    stdout, stderr = finished(process)
    assert stdout.split() == [treeroll.__version__] * 3, stderr


def test_a_forked_child_takes_nothing_from_its_parent(service: RealService, proxy: Proxy, run: Run) -> None:
    run.submit(tasks(1))
    process = child(
        """
        import gc, os, sys, treeroll
        run = treeroll.connect(os.environ["ADDRESS"]).run(os.environ["RUN"])
        batches = run.batches(trees=1)
        batch = next(batches)
        if os.fork() == 0:
            try:
                batch.ack()
            except treeroll.errors.CallerError:
                del batches, batch
                gc.collect()
                sys.exit(7)
        _, status = os.wait()
        batch.ack()
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        proxy.address,
        run_id=run.run_id,
    )
    _, stderr = finished(process)
    assert process.returncode == 7, stderr
    assert len(service.acked(run.run_id)) == 1
    assert not proxy.requests("ReleaseTrees")

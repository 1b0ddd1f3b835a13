"""A run is its creator's: to others every method that names it is refused, and no lease is acknowledged by guessing."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tests.support.access import Credentials, bearer

from treeroll.channels import open_channel
from treeroll.client import AsyncClient, connect_async
from treeroll.errors import NotAllowed
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.memory import MemoryStore
from treeroll.testing.service import LocalService, local_service

METHODS = api.DESCRIPTOR.services_by_name["Rollouts"].methods_by_name
OF_A_RUN = [name for name, method in METHODS.items() if "run_id" in method.input_type.fields_by_name]
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 8, "max_depth": 1}


@pytest.fixture
async def service(credentials: Credentials) -> AsyncIterator[LocalService]:
    credentials.token("operator", "ops")
    async with local_service(access=credentials.config()) as service:
        service.start_replica("r0")
        yield service


@pytest.fixture
async def alice(service: LocalService, credentials: Credentials) -> AsyncIterator[AsyncClient]:
    """Has a run with two trees."""
    async with await connect_async(service.address, token=credentials.token("client", "alice")) as client:
        run = await client.create_run("run", **RUN)
        await run.submit([{"prompt": "1+1="}, {"prompt": "2+2="}])
        await run.close()
        yield client


async def lease(client: AsyncClient, group: str = "group", consumer: str = "one") -> list[api.Delivery]:
    request = api.LeaseTreesRequest(run_id="run", group=group, consumer=consumer, max_trees=9, lease_s=60, wait_s=30)
    return list((await client._channel.call("LeaseTrees", request, api.LeaseTreesReply)).deliveries)


async def settle(client: AsyncClient, method: str, *lease_ids: str) -> list[str]:
    """Those of the leases that are not the caller's."""
    kind = {
        "AckTrees": api.AckTreesRequest,
        "ReleaseTrees": api.ReleaseTreesRequest,
        "RenewLeases": api.RenewLeasesRequest,
    }
    request = kind[method](run_id="run", group="group", lease_ids=lease_ids)
    if method == "RenewLeases":
        request.lease_s = 60
    return list((await client._channel.call(method, request, api.LeasesReply)).lost)


async def refused(service: LocalService, token: str, run_id: str) -> set[str]:
    """Methods that refuse their request for a run."""
    names = set()
    async with open_channel(service.address) as channel:
        for name in OF_A_RUN:
            request = METHODS[name].input_type._concrete_class(run_id=run_id)
            ask: Any = channel.unary_unary(f"/treeroll.v1.Rollouts/{name}")
            try:
                await ask(request.SerializeToString(), metadata=bearer(token))
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                    names.add(name)
    return names


def test_methods_of_a_run_are_found() -> None:
    assert {"CreateRun", "CancelRun", "LeaseTrees", "AckTrees", "ReportRewards", "DeleteRun"} <= set(OF_A_RUN)


async def test_every_method_that_names_a_run_is_refused_to_other_clients(
    alice: AsyncClient, service: LocalService, credentials: Credentials
) -> None:
    assert await refused(service, credentials.token("client", "mallory", "publish"), "run") == set(OF_A_RUN)


async def test_to_its_owner_with_another_token_and_to_operators_none_is(
    alice: AsyncClient, service: LocalService, credentials: Credentials
) -> None:
    for role, name in (("client", "alice"), ("operator", "ops")):
        assert await refused(service, credentials.token(role, name), "run") == set()


async def test_to_viewers_all_but_looking_is(
    alice: AsyncClient, service: LocalService, credentials: Credentials
) -> None:
    assert await refused(service, credentials.token("viewer", "v"), "run") == set(OF_A_RUN) - {"GetRun"}


@pytest.mark.parametrize("role", ["client", "operator", "viewer"])
async def test_a_token_for_some_runs_is_for_no_others(
    role: str, alice: AsyncClient, service: LocalService, credentials: Credentials
) -> None:
    token = credentials.token(role, "alice", "runs=mine-")
    assert await refused(service, token, "run") == set(OF_A_RUN)
    async with await connect_async(service.address, token=token) as client:
        assert (await client.status()).run_ids == []
        if role != "viewer":
            await client.create_run("mine-1", **RUN)
            assert (await client.status()).run_ids == ["mine-1"]


async def test_trees_are_read_by_their_owner_by_viewers_and_by_operators(
    alice: AsyncClient, service: LocalService, credentials: Credentials
) -> None:
    tree_id = (await lease(alice))[0].tree_id
    for role, name in (("client", "alice"), ("viewer", "v"), ("operator", "ops")):
        async with await connect_async(service.address, token=credentials.token(role, name)) as client:
            assert (await client.get_tree(tree_id)).tree_id == tree_id
            assert [run.run_id for run in await client.runs()] == ["run"]
    async with await connect_async(service.address, token=credentials.token("client", "mallory")) as client:
        assert await client.runs() == []
        with pytest.raises(NotAllowed, match="run 'run' belongs to somebody else than 'mallory'"):
            await client.get_tree(tree_id)


async def test_a_run_does_not_begin_with_what_anothers_tasks_came_to(
    alice: AsyncClient, service: LocalService, credentials: Credentials
) -> None:
    async with await connect_async(service.address, token=credentials.token("client", "mallory")) as client:
        with pytest.raises(NotAllowed, match="run 'run' belongs to somebody else"):
            await client.create_run("mine", history_from="run", **RUN)


async def test_whose_a_run_was_is_known_after_the_service_has_started_again(credentials: Credentials) -> None:
    credentials.token("operator", "ops")
    store = MemoryStore()
    alices = credentials.token("client", "alice")
    async with (
        local_service(store, access=credentials.config()) as service,
        await connect_async(service.address, token=alices) as client,
    ):
        await (await client.create_run("run", **RUN)).close()
    async with local_service(store, access=credentials.config()) as service:
        async with await connect_async(service.address, token=credentials.token("client", "mallory")) as client:
            with pytest.raises(NotAllowed):
                await client.delete_run("run")
        async with await connect_async(service.address, token=alices) as client:
            assert await client.delete_run("run") == 0


async def test_a_lease_is_not_guessed_and_not_another_identitys(
    alice: AsyncClient, service: LocalService, credentials: Credentials
) -> None:
    given = [delivery.lease_id for delivery in await lease(alice)]
    bare = [lease_id.rpartition(".")[0] for lease_id in given]
    guesses = bare + [f"{name}." for name in bare] + [f"{name}.{'0' * 16}" for name in bare]
    swapped = [f"{one}.{other.rpartition('.')[2]}" for one, other in zip(bare, reversed(given), strict=True)]
    async with await connect_async(service.address, token=credentials.token("operator", "ops")) as operator:
        for method in ("RenewLeases", "ReleaseTrees", "AckTrees"):
            assert await settle(alice, method, *guesses, *swapped) == guesses + swapped
            assert sorted(await settle(operator, method, *given)) == sorted(given)
    assert await settle(alice, "AckTrees", *guesses, *given) == guesses
    assert (await service.store.group_state("run", "group")).acknowledged == len(given) > 1


async def test_the_runs_own_scorer_is_the_services_to_speak_for(
    service: LocalService, credentials: Credentials
) -> None:
    async with await connect_async(service.address, token=credentials.token("client", "alice")) as client:
        run = await client.create_run("run", scorer="arith", **RUN)
        await run.submit([{"prompt": "2+2=", "answer": "4"}])
        await run.close()
        async with run.batches(trees=1) as batches:
            async for batch in batches:
                with pytest.raises(NotAllowed, match="come from the service"):
                    await batch.report_rewards([1.0] * len(batch.samples), scorer="arith", version=2)
                await batch.report_rewards([1.0] * len(batch.samples), scorer="mine")
                assert all(sample.reward in (0.0, None) or sample.reward == 1.0 for sample in batch.samples)


async def test_without_tokens_nothing_has_an_owner() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        async with await connect_async(service.address, token="") as client:
            run = await client.create_run("run", **RUN)
            await run.submit([{"prompt": "1+1="}])
            assert (await lease(client))[0].lease_id == "0.1.1.one"
            assert service.coordinator.state.runs["run"].spec.owner == ""

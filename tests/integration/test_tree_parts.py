"""A large tree comes in parts, each as soon as it is read."""

from collections.abc import AsyncIterator

import grpc.aio

from treeroll.bench.finished_trees import FinishedTrees, TreeShape
from treeroll.channels import open_channel
from treeroll.client import connect_async
from treeroll.errors import TreeChanged
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import rollout_pb2_grpc
from treeroll.records.assemble import as_stored, assemble
from treeroll.store.base import PAGE_NODES, TreePage
from treeroll.store.memory import MemoryStore
from treeroll.testing.service import LocalService, local_service

RUN_ID, TREE_ID = "r", f"{0:016x}"
SHAPE = TreeShape(leaves=64, segments=16, segment_tokens=8)


class Restless(MemoryStore):
    """Trees of it begin anew while they are read, as often as told, when so many pages have been."""

    def __init__(self, pages: list[int]) -> None:
        super().__init__()
        self._pages = pages

    async def tree_pages(self, tree_id: str) -> AsyncIterator[TreePage]:
        most, pages = self._pages.pop(0) if self._pages else None, 0
        async for page in super().tree_pages(tree_id):
            if pages == most:
                raise TreeChanged("it began anew")
            yield page
            pages += 1


async def filled(service: LocalService) -> None:
    """Store a tree of more nodes than a page has, with a late reward of one of the last."""
    async with await connect_async(service.address) as client:
        await client.create_run(RUN_ID, leaves=SHAPE.leaves, segment_tokens=SHAPE.segment_tokens)
    commit = FinishedTrees(SHAPE, variety=1).commit(RUN_ID, 0, 1)
    last = len(commit.nodes[TREE_ID]) - 1
    assert last > 2 * PAGE_NODES
    commit.rewards[TREE_ID] = {f"{last}:late:1": pb.Reward(scorer="late", version=1, value=0.5).SerializeToString()}
    await service.store.commit(commit, service.coordinator.epoch)


async def test_parts_are_small_and_merged_they_are_the_tree_as_it_is_stored() -> None:
    async with local_service() as service:
        await filled(service)
        stored = await service.store.load_tree(TREE_ID)
        assert stored is not None
        async with open_channel(service.address) as channel:
            stub = rollout_pb2_grpc.RolloutsStub(channel)  # type: ignore[no-untyped-call]
            parts = [part async for part in stub.GetTree(api.GetTreeRequest(tree_id=TREE_ID))]
        assert max(len(part.nodes) for part in parts) == PAGE_NODES
        whole = pb.Tree()
        for part in parts:
            whole.MergeFrom(part)
        assert whole == as_stored(stored)
        assert whole.nodes[-1].rewards[0].scorer == "late"


async def test_a_client_reads_a_tree_again_that_began_anew_meanwhile() -> None:
    store = Restless([0, 1, 2])
    async with local_service(store) as service:
        await filled(service)
        async with await connect_async(service.address) as client:
            tree = await client.get_tree(TREE_ID)
        stored = await store.load_tree(TREE_ID)
        assert stored is not None
        assert [node.path for node in tree.nodes] == [node.path for node in assemble(stored).nodes]


async def test_who_leaves_while_parts_come_ends_the_reading() -> None:
    async with local_service() as service:
        await filled(service)
        async with open_channel(service.address) as channel:
            stub = rollout_pb2_grpc.RolloutsStub(channel)  # type: ignore[no-untyped-call]
            call: grpc.aio.UnaryStreamCall = stub.GetTree(api.GetTreeRequest(tree_id=TREE_ID))  # type: ignore[type-arg]
            assert (await anext(aiter(call))).tree_id == TREE_ID
            assert call.cancel()
        async with await connect_async(service.address) as client:
            assert (await client.get_tree(TREE_ID)).tree_id == TREE_ID

"""Growth by a judge, through the whole service: simulated engine, real coordinator and client."""

import re

import pytest
from tests.support.rollouts import trees_of

from treeroll.client import connect_async
from treeroll.errors import InvalidInput
from treeroll.testing.service import local_service

RUN = {
    "leaves": 6, "segment_tokens": 32, "max_depth": 4, "scorer": "arith", "branch": {"value": "judge"},
    "judge": "regex:7",
}  # fmt: skip


async def test_nodes_carry_what_the_judge_said_of_the_path_to_them() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        said = set()
        for tree in await trees_of(client, "judged", "rebase", 6, **RUN):
            assert tree.status == "complete"
            nodes = {node.node_id: node for node in tree.nodes}
            for node in tree.nodes:
                if not node.depth or node.status != "inner":
                    continue
                text, above = "", node
                while above.depth:
                    text, above = above.text + text, nodes[above.parent_id]
                [reward] = node.rewards
                assert reward.scorer == "regex:7"
                assert reward.value == float(bool(re.search("7", text)))
                said.add(reward.value)
            assert all(sample.reward is not None for sample in tree.samples)
        assert said == {0.0, 1.0}
        assert (await client.audit()).violations == []


async def test_credit_is_the_same_from_memory_and_from_the_store_where_the_judge_is_the_scorer() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        run = {**RUN, "judge": "arith", "advantage": {"name": "mars2"}}
        for tree in await trees_of(client, "both", "rebase", 6, **run):
            before = [sample.advantages.tolist() for sample in tree.samples]
            leaf = tree.samples[0]
            await (await client.run("both")).report_rewards([(tree.tree_id, leaf.path_node_ids[-1], 1.0)])
            again = await client.get_tree(tree.tree_id)
            assert [sample.advantages.tolist() for sample in again.samples] == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"judge": None}, "grows trees by what a judge says of unfinished paths, but judge is None"),
        ({"judge": "client"}, "but judge is 'client', so none says anything while a tree grows; set judge to a scorer"),
        ({"judge": "magic"}, "unknown scorer 'magic'"),
        ({"branch": {}}, "judge is 'regex:7', but nothing in recipe 'rebase' asks it; set branch.value to judge"),
    ],
)
async def test_a_judge_that_cannot_be_asked_is_refused_when_the_run_is_created(
    changes: dict[str, object], message: str
) -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput, match=re.escape(message)):
            await client.create_run("a", recipe="rebase", **{**RUN, **changes})
        assert (await client.status()).run_ids == []

"""What clients are told when they ask for what cannot be: typed errors, in one sentence."""

import pytest

from treeroll.client import connect_async
from treeroll.errors import Drained, InvalidInput, RunClosed, RunConflict, TaskConflict, UnknownRun, UnknownTree
from treeroll.testing.service import local_service

RUN = {"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 4}
TASK = {"id": "t1", "prompt": "Compute 1+2.\n", "answer": "3"}


async def test_a_run_can_be_attached_to_but_not_changed() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        await client.create_run("a", **RUN)
        await client.create_run("a", **RUN)
        with pytest.raises(
            RunConflict, match="exists with another configuration: leaves is 2 there and 3 here; choose"
        ):
            await client.create_run("a", **{**RUN, "leaves": 3})


@pytest.mark.parametrize(
    ("first", "then", "sentence"),
    [
        ({}, {"temperature": 0.5}, "temperature is 1.0 there and 0.5 here"),
        ({"scorer": "exact"}, {}, 'scorer is "exact" there and null here'),
        ({}, {"scorer": "regex:(é+)"}, 'scorer is null there and "regex:(é+)" here'),
        ({}, {"budget": {"task_tokens": 900}}, "budget.task_tokens is null there and 900 here"),
        (
            {"recipe": "treepo"},
            {"recipe": "treepo", "branch": {"sync": "path"}},
            'branch.sync is not set there and "path" here',
        ),
        (
            {"recipe": "treepo", "branch": {"sync": "level"}},
            {"recipe": "treepo", "branch": {"sync": "path"}},
            'branch.sync is "level" there and "path" here',
        ),
        ({}, {"temperature": 0.5, "seed": 3}, "seed is 0 there and 3 here, temperature is 1.0 there and 0.5 here"),
        ({"branch": {"name": "flat"}}, {}, 'branch.name is "flat" there and not set here'),
        ({"scorer": f"regex:{'x' * 90}"}, {"scorer": f"regex:{'x' * 90}y"}, 'scorer is "regex:xxx'),
        ({}, {"budget_tokens": 7000, "leaves": 4}, "leaves is 2 there and 4 here"),
    ],
)
async def test_a_run_that_differs_names_what_differs(
    first: dict[str, object], then: dict[str, object], sentence: str
) -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        await client.create_run("a", **{**RUN, **first})
        with pytest.raises(RunConflict) as refused:
            await client.create_run("a", **{**RUN, **then})
        assert sentence in str(refused.value)
        assert "\n" not in str(refused.value)


async def test_a_run_that_differs_in_much_names_some_of_it() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        await client.create_run("a", **RUN)
        other = {"temperature": 0.5, "seed": 1, "weight": 2.0, "scorer": f"regex:{'x' * 500}", "top_p": 0.5, "top_k": 5}
        more = {"ignore_eos": True, "history_decay": 0.1, "scorer_timeout_s": 3.0, "budget": {"seconds": 9.0}}
        with pytest.raises(RunConflict, match="and 2 more keys differ; choose another id") as refused:
            await client.create_run("a", **RUN | other | more)
        assert len(str(refused.value)) < 1000


async def test_an_unknown_run_or_tree_is_named() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        with pytest.raises(UnknownRun, match="'nobody'"):
            await client.run("nobody")
        with pytest.raises(UnknownTree, match="feed"):
            await client.get_tree("feed")
        run = await client.create_run("a", **RUN)
        with pytest.raises(UnknownTree, match="run 'a' has no tree 'beef'"):
            await run.report_rewards([("beef", "0", 1.0)])


async def test_a_task_key_is_bound_to_its_content() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        run = await client.create_run("a", **RUN)
        first = await run.submit([TASK])
        assert await run.submit([TASK]) == first
        with pytest.raises(TaskConflict, match="task 't1' of epoch 0 exists in run 'a' with other content"):
            await run.submit([{**TASK, "answer": "4"}])
        assert await run.submit([{**TASK, "answer": "4"}], epoch=1) != first
        assert (await run.status()).submitted == 2


async def test_nothing_of_a_submission_is_accepted_when_one_task_is_wrong() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        run = await client.create_run("a", **RUN)
        long = {"id": "long", "prompt": "1" * 5000}
        with pytest.raises(InvalidInput, match="task 'long': the prompt has 5000 tokens, the model's context is"):
            await run.submit([TASK, long])
        assert (await run.status()).submitted == 0


async def test_a_closed_run_takes_no_more_tasks_but_repeats_are_harmless() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        run = await client.create_run("a", **RUN)
        await run.submit([TASK])
        await run.close()
        await run.submit([TASK])
        with pytest.raises(RunClosed, match="run 'a' is closed"):
            await run.submit([{**TASK, "id": "t2"}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "oak"}, "there is no recipe 'oak'"),
        ({"branch": {"syncc": "level"}}, "syncc"),
        ({"scorer": "magic"}, "magic"),
        ({"temperature": 0.0}, "temperature 0 and leaves 2 cannot work together"),
        ({"scorer": "python:no.such.module:f"}, "no.such.module"),
    ],
)
async def test_a_run_that_cannot_work_is_refused_when_it_is_created(changes: dict[str, object], message: str) -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput, match=message):
            await client.create_run("a", **{**RUN, **changes})
        assert (await client.status()).run_ids == []


async def test_a_draining_service_takes_no_tasks_and_says_so() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        run = await client.create_run("a", **RUN)
        assert (await client.drain()).draining
        with pytest.raises(Drained, match="the service drains and takes no tasks"):
            await run.submit([TASK])


async def test_cancelling_gives_every_waiting_task_its_terminal_event() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        run = await client.create_run("a", **RUN)
        await run.submit([{**TASK, "id": f"t{i}"} for i in range(5)])
        await run.cancel()
        failures = [failure async for batch in run.batches(allow_empty=True) for failure in batch.failures]
        assert sorted(tree.task_id for tree in failures) == [f"t{i}" for i in range(5)]
        assert (await client.audit()).violations == []

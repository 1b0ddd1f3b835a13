"""Tasks and their scorer through a whole service: abstentions, and tasks that a scorer can make nothing of."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from treeroll.cli.job import execute
from treeroll.cli.preflight import Request, make_plan
from treeroll.cli.settings import rollout_settings
from treeroll.client import AsyncRun, TreeRecord, connect_async
from treeroll.errors import InvalidInput
from treeroll.results.directory import Mode
from treeroll.testing.service import LocalService, local_service

FUNCTIONS = "tests.support.scorer_functions"
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 8, "max_tokens": 96, "seed": 3}
PROMPTS = [{"id": f"t{n}", "prompt": f"Compute {n}+12*3.\n"} for n in range(4)]


async def grow(service: LocalService, tasks: list[dict[str, Any]], **config: Any) -> tuple[AsyncRun, list[TreeRecord]]:
    client = await connect_async(service.address)
    run = await client.create_run("r", **{**RUN, **config})
    await run.submit(tasks)
    await run.close()
    return run, [tree async for batch in run.batches() for tree in batch.trees]


async def test_a_leaf_from_which_the_scorer_abstains_is_missing_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        with caplog.at_level(logging.WARNING):
            run, trees = await grow(service, PROMPTS, scorer=f"python:{FUNCTIONS}:of_even_length")
        status = await run.status()
        samples = [sample for tree in trees for sample in tree.samples]
        tree = next(tree for tree in trees if {s.reward_status for s in tree.samples} == {"ok", "missing"})
        abstained = next(sample for sample in tree.samples if sample.reward is None)
        await run.report_rewards(
            [(tree.tree_id, abstained.path_node_ids[-1], 0.5)], f"python:{FUNCTIONS}:of_even_length"
        )
        after = await run.get_tree(tree.tree_id)
    assert {(len(s.completion_text) % 2, s.reward, s.reward_status) for s in samples} == {
        (0, 1.0, "ok"),
        (1, None, "missing"),
    }
    assert all((sample.advantages is None) == (sample.reward is None) for sample in samples)
    assert status.reward_errors == 0
    assert "have no score" not in caplog.text
    changed = [s.reward for s, before in zip(after.samples, tree.samples, strict=True) if s.reward != before.reward]
    assert changed == [0.5]
    assert {sample.reward_status for sample in after.samples} <= {"ok", "missing"}


NONE = "can score none of 4 tasks (task 't0': the task has no answer"


@pytest.mark.parametrize(
    ("scorer", "tasks", "message"),
    [
        ("math", PROMPTS, NONE),
        ("exact", PROMPTS, NONE),
        ("arith", [{**task, "answer": " "} for task in PROMPTS], NONE),
        (
            "math",
            [{**task, "solution": "5", "reward_model": {"ground_truth": "5"}} for task in PROMPTS],
            "its field 'reward_model.ground_truth' or 'solution' may be it: say so with --answer-field or answer_",
        ),
        ("arith", [{**task, "answer": "five"} for task in PROMPTS], "the task's answer 'five' is not an integer"),
        ("regex", PROMPTS, "has a pattern"),
        ("regex", [{**task, "pattern": "("} for task in PROMPTS], "the task's pattern '(' is not a regular expression"),
        ("math", [{**task, "answer": "$$"} for task in PROMPTS], "math-verify finds nothing in the task's answer '$$'"),
    ],
)
async def test_tasks_of_which_a_scorer_can_make_nothing_are_refused_before_a_token(
    scorer: str, tasks: list[dict[str, Any]], message: str
) -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        client = await connect_async(service.address)
        run = await client.create_run("r", **RUN, scorer=scorer)
        with pytest.raises(InvalidInput, match=re.escape(message)):
            await run.submit(tasks)
        status = await run.status()
        assert (status.submitted, status.ledger.granted) == (0, 0)
        await run.submit([{**task, "answer": "5", "pattern": "x"} for task in tasks])


async def test_some_tasks_of_which_a_scorer_can_make_nothing_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    answers = [None, "36", "$$", "39"]
    tasks = [{**task, "answer": answer} for task, answer in zip(PROMPTS, answers, strict=True)]
    notes: list[str] = []
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        client = await connect_async(service.address)
        run = await client.create_run("r", **RUN, scorer="math")
        await run.submit(tasks, on_note=notes.append)
        assert notes == [
            "scorer 'math' cannot score 2 of 4 tasks; their leaves will have reward_status 'error' "
            "(task 't0': the task has no answer)"
        ]
        await run.submit(tasks)  # again: they are known, and nothing is said of them
        await run.submit([{"id": "late", "prompt": "Compute 1+1.\n"}])
        await run.close()
        trees = {tree.task_id: tree async for batch in run.batches() for tree in batch.trees}
    assert caplog.text.count("cannot score 1 of 1 tasks") == 1
    statuses = {name: {sample.reward_status for sample in tree.samples} for name, tree in trees.items()}
    assert statuses == {"t0": {"error"}, "t1": {"ok"}, "t2": {"error"}, "t3": {"ok"}, "late": {"error"}}


@pytest.mark.parametrize("scorer", [None, "client", "regex:x", f"python:{FUNCTIONS}:length"])
async def test_other_scorers_take_tasks_without_answers(scorer: str | None, caplog: pytest.LogCaptureFixture) -> None:
    async with local_service() as service:
        run = await (await connect_async(service.address)).create_run("r", **RUN, scorer=scorer)
        assert len(await run.submit(PROMPTS)) == 4
    assert "cannot score" not in caplog.text


async def test_a_judge_needs_an_answer_as_a_scorer_does() -> None:
    async with local_service() as service:
        client = await connect_async(service.address)
        run = await client.create_run("r", recipe="rebase", branch={"value": "judge"}, judge="exact", scorer="regex:x")
        with pytest.raises(InvalidInput, match="scorer 'exact' can score none of 4 tasks"):
            await run.submit(PROMPTS)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (
            "python:not_there:score",
            "on the service at {address}, scorer 'python:not_there:score': module not_there cannot be imported: "
            "ModuleNotFoundError: No module named 'not_there'; its PYTHONPATH must hold the module",
        ),
        (
            f"python:{FUNCTIONS}:nothing",
            f"on the service at {{address}}, scorer 'python:{FUNCTIONS}:nothing': module {FUNCTIONS} has no 'nothing'",
        ),
    ],
)
async def test_a_python_scorer_that_the_service_has_not_is_looked_for_on_the_service(scorer: str, message: str) -> None:
    async with local_service() as service:
        client = await connect_async(service.address)
        for name in ("scorer", "judge"):
            changes = {"recipe": "rebase", "branch": {"value": "judge"}, "scorer": "regex:x"} if name == "judge" else {}
            with pytest.raises(InvalidInput) as caught:
                await client.create_run("r", **{**RUN, **changes, name: scorer})
            assert str(caught.value) == message.format(address=service.address)


async def test_a_rollout_over_shards_of_another_project_is_scored_by_its_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Float answers with a gap, messages' fields beside them, in two Parquet shards."""
    shards = tmp_path / "data"
    shards.mkdir()
    rewards = [{"style": "rule", "ground_truth": value} for value in (36.0, None, 38.0, 39.0)]
    for number in range(2):
        rows = {
            "question": [task["prompt"] for task in PROMPTS[2 * number : 2 * number + 2]],
            "reward_model": rewards[2 * number : 2 * number + 2],
            "rate": [0.5, float("nan")],
        }
        pq.write_table(pa.table(rows), shards / f"train-{number}.parquet")
    settings = rollout_settings(
        None, ["tasks.prompt=question", "tasks.answer=reward_model.ground_truth"], {"run": {**RUN, "scorer": "arith"}}
    )
    out = tmp_path / "out"
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        await service.joined()
        request = Request(shards, out, Mode.REFUSE, service.address, None, False, settings, ())
        assert await execute(make_plan(request)) == 0
    samples = pq.read_table(out / "samples.parquet").to_pylist()
    statuses = {(sample["task_id"], sample["reward_status"]) for sample in samples}
    assert statuses == {("task-1", "ok"), ("task-2", "error"), ("task-3", "ok"), ("task-4", "ok")}
    assert {sample["reward"] for sample in samples if sample["task_id"] == "task-1"} <= {0.0, 1.0}
    assert any(sample["reward"] == 1.0 for sample in samples)
    said = capsys.readouterr().err
    assert said.count("note: field 'rate': NaN and other values that mean 'none' count as null") == 1
    assert "note: scorer 'arith' cannot score 1 of 4 tasks" in said
    assert json.loads((out / "run.json").read_text())["task_fields"]["answer"] == "reward_model.ground_truth"

"""Tasks with messages through a whole service: what reaches the engine, and when a task is another one."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.support.chat_models import CHATML, chat_model
from tests.support.rollouts import rollout

from treeroll import clock
from treeroll.client import AsyncClient, AsyncRun, connect_async
from treeroll.errors import InvalidInput, RunConflict, TaskConflict
from treeroll.results.directory import Mode
from treeroll.testing.service import local_service

DATED = "{{ strftime_now('%d') }}: " + CHATML
VARIES = CHATML + "{% if enable_thinking is false %}quick{% endif %}{{ effort }}"
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 32}
HI = {"role": "user", "content": "1+1"}


def task(task_id: str = "a", *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": task_id, "messages": list(messages) or [HI], **fields}


class Calendar:
    """A clock on the wall that says noon of a day of March 2026."""

    day = 1

    def wall(self) -> float:
        return datetime(2026, 3, self.day, 12).timestamp()


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Calendar:
    calendar = Calendar()
    monkeypatch.setattr(clock, "wall", calendar.wall)
    return calendar


async def prompts(client: AsyncClient, run: AsyncRun, *tasks: dict[str, Any]) -> list[str]:
    """The prompts of these tasks as they are kept."""
    return [(await client.get_tree(tree_id)).prompt_text for tree_id in await run.submit(tasks)]


# -- dates -----------------------------------------------------------------------------------------------


async def test_a_runs_prompts_say_the_day_it_was_created(calendar: Calendar, tmp_path: Path) -> None:
    async with (
        local_service(model=chat_model(tmp_path, DATED)) as service,
        await connect_async(service.address) as client,
    ):
        run = await client.create_run("r", **RUN)
        first = await prompts(client, run, task("a"))
        calendar.day = 2
        run = await client.create_run("r", **RUN)  # attaches
        assert (await run.status()).config["chat_date"] == "2026-03-01"
        assert await prompts(client, run, task("a"), task("b")) == 2 * first == 2 * ["01: [user]1+1[end][assistant]"]
        assert (await run.status()).submitted == 2
        other = await client.create_run("other", **RUN)
        assert await prompts(client, other, task("a")) == ["02: [user]1+1[end][assistant]"]


async def test_the_day_may_be_given_and_is_then_a_part_of_the_run(calendar: Calendar, tmp_path: Path) -> None:
    async with (
        local_service(model=chat_model(tmp_path, DATED)) as service,
        await connect_async(service.address) as client,
    ):
        run = await client.create_run("r", chat_date="2025-01-31", **RUN)
        assert await prompts(client, run, task()) == ["31: [user]1+1[end][assistant]"]
        with pytest.raises(RunConflict):
            await client.create_run("r", chat_date="2025-01-30", **RUN)


async def test_a_resumed_rollout_goes_on_with_its_day(calendar: Calendar, tmp_path: Path) -> None:
    tasks, out = tmp_path / "tasks.jsonl", tmp_path / "out"
    tasks.write_text("".join(f"{json.dumps(task(f't{number}'))}\n" for number in range(4)))
    async with local_service(model=chat_model(tmp_path, DATED)) as service:
        service.start_replica("r0")
        assert await rollout(service, out, tasks=tasks, limit=2, recipe="flat", scorer=None) == 0
        calendar.day = 2
        with pytest.raises(InvalidInput, match=r'--resume: .* chat_date = "2026-03-01", now it is "2026-03-02"'):
            await rollout(
                service, out, tasks=tasks, recipe="flat", scorer=None, mode=Mode.RESUME, chat_date="2026-03-02"
            )
        assert await rollout(service, out, tasks=tasks, limit=4, recipe="flat", scorer=None, mode=Mode.RESUME) == 0
    rows = pq.read_table(out / "samples.parquet", columns=["task_id", "prompt_text"]).to_pylist()
    assert {row["task_id"] for row in rows} == {"t0", "t1", "t2", "t3"}
    assert {row["prompt_text"] for row in rows} == {"01: [user]1+1[end][assistant]"}
    assert json.loads((out / "summary.json").read_text())["run"]["chat_date"] == "2026-03-01"


async def test_a_template_that_says_no_day_has_none(tmp_path: Path) -> None:
    async with (
        local_service(model=chat_model(tmp_path, CHATML)) as service,
        await connect_async(service.address) as client,
    ):
        run = await client.create_run("r", **RUN)
        assert (await run.status()).config["chat_date"] is None
        with pytest.raises(
            InvalidInput, match=r"chat_date is set, but the chat template of .* does not ask for the date"
        ):
            await client.create_run("q", chat_date="2025-01-31", **RUN)


# -- what makes a task another one -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (task(), task(), True),
        (task(), task("a", {**HI, "name": None}), True),
        (task("a", {"role": "user", "content": "1+1"}), task("a", {"content": "1+1", "role": "user"}), True),
        (task(), task("a", {**HI, "name": "Ann"}), False),  # which the template does not print
        (task(), task("a", {"role": "user", "content": "1+1 "}), False),
        (task(), task(chat_template_kwargs={"effort": None}), True),
        (task(chat_template_kwargs={"effort": ""}), task(), False),
        (task(), {"id": "a", "prompt": "[user]1+1[end][assistant]"}, False),
        (task(), task(answer="2"), False),
    ],
)
async def test_tasks_are_equal_if_what_was_sent_is(first: Any, second: Any, equal: bool, tmp_path: Path) -> None:
    async with (
        local_service(model=chat_model(tmp_path, VARIES)) as service,
        await connect_async(service.address) as client,
    ):
        run = await client.create_run("r", **RUN)
        sent = await run.submit([first])
        if equal:
            assert await run.submit([second]) == sent
            assert (await run.status()).submitted == 1
        else:
            with pytest.raises(TaskConflict):
                await run.submit([second])


# -- variables -------------------------------------------------------------------------------------------


async def test_variables_of_a_run_hold_for_tasks_that_say_nothing_else(tmp_path: Path) -> None:
    async with (
        local_service(model=chat_model(tmp_path, VARIES)) as service,
        await connect_async(service.address) as client,
    ):
        run = await client.create_run("r", chat_template_kwargs={"enable_thinking": False, "effort": "low"}, **RUN)
        head = "[user]1+1[end][assistant]"
        assert await prompts(
            client,
            run,
            task("a"),
            task("b", chat_template_kwargs={"effort": "high"}),
            task("c", chat_template_kwargs={"enable_thinking": True, "effort": None}),
        ) == [f"{head}quicklow", f"{head}quickhigh", f"{head}low"]
        with pytest.raises(RunConflict):
            await client.create_run("r", chat_template_kwargs={"enable_thinking": True}, **RUN)


async def test_variables_without_effect_are_refused(tmp_path: Path) -> None:
    async with (
        local_service(model=chat_model(tmp_path, VARIES)) as service,
        await connect_async(service.address) as client,
    ):
        with pytest.raises(InvalidInput, match=r"chat_template_kwargs.thinking is set, but .* never reads it"):
            await client.create_run("r", chat_template_kwargs={"thinking": False}, **RUN)
        run = await client.create_run("r", **RUN)
        with pytest.raises(InvalidInput, match=r"task 'a': chat_template_kwargs.efort .*did you mean 'effort'"):
            await run.submit([task(chat_template_kwargs={"efort": "low"})])


# -- prompts ---------------------------------------------------------------------------------------------


async def test_an_assistants_last_message_goes_on(tmp_path: Path) -> None:
    async with (
        local_service(model=chat_model(tmp_path, CHATML)) as service,
        await connect_async(service.address) as client,
    ):
        service.start_replica("r0")
        run = await client.create_run("r", **RUN)
        await run.submit([task("a", HI, {"role": "assistant", "content": "Let me"})])
        await run.close()
        [tree] = [tree async for batch in run.batches() for tree in batch.trees]
        assert tree.prompt_text == "[user]1+1[end][assistant]Let me"
        assert not any(sample.completion_text.startswith("Let me") for sample in tree.samples)


async def test_a_template_of_ones_own_makes_other_prompts_and_another_hash(tmp_path: Path) -> None:
    tasks, out, file = tmp_path / "tasks.jsonl", tmp_path / "out", tmp_path / "own.jinja"
    tasks.write_text("".join(f"{json.dumps(task(f't{number}'))}\n" for number in range(2)))
    hashes = []
    for source in (CHATML, CHATML.replace("[assistant]", "[me]")):
        file.write_text(source)
        async with local_service(chat_template=file) as service, await connect_async(service.address) as client:
            service.start_replica("r0")
            if not hashes:
                assert await rollout(service, out, tasks=tasks, limit=1, recipe="flat", scorer=None) == 0
            else:
                with pytest.raises(InvalidInput, match=f"--resume: .* tokenizer_hash {hashes[0]}, now it is"):
                    await rollout(service, out, tasks=tasks, recipe="flat", scorer=None, mode=Mode.RESUME)
            run = await client.create_run("r", **RUN)
            [tree_id] = await run.submit([task()])
            tree = await client.get_tree(tree_id)
            assert tree.prompt_text == f"[user]1+1[end]{'[me]' if hashes else '[assistant]'}"
            assert tree.tokenizer_hash == (await client.status()).tokenizer_hash
            hashes.append(tree.tokenizer_hash)
    assert len({*hashes, service.tokenizer.hash}) == 3


async def test_a_model_without_a_template_takes_text_only(tmp_path: Path) -> None:
    async with (
        local_service(model=chat_model(tmp_path, None)) as service,
        await connect_async(service.address) as client,
    ):
        run = await client.create_run("r", **RUN)
        assert await run.submit([{"id": "text", "prompt": "1+1"}])
        with pytest.raises(InvalidInput, match=r"task 'a': model .* has no chat template, so it takes no 'messages'"):
            await run.submit([task()])

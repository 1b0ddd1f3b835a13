"""verifiers: tasks of a taskset through a task file, scored as the library scores them; what cannot be is refused."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("verifiers", reason="scripts/test puts it on the path")

import verifiers.v1 as vf
from tests.support.pages import blocks, lead_to, run_block

from treeroll.errors import InvalidInput
from treeroll.integrations import verifiers
from treeroll.integrations.sources import rows_from
from treeroll.scorers import registry
from treeroll.scorers.base import MissingInput, ScoreItem
from treeroll.scorers.rules import ScorerRules
from treeroll.scorers.verifiers import FIELD, taskset_class
from treeroll.testing.service import running_service

PAGE = "integrations/verifiers.md"


class Sum(vf.TaskData):
    """Two numbers; the pair would become a list in JSON."""

    terms: tuple[int, int]


class AddUp(vf.Task[Sum]):
    @vf.reward(weight=0.9)
    async def right(self, trace: vf.Trace) -> float:
        assert isinstance(self.data.terms, tuple)
        return float(trace.last_reply.endswith(str(sum(self.data.terms))))

    @vf.reward(weight=0.1)
    async def short(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply) < 20)

    @vf.metric
    async def length(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply))


class SumsConfig(vf.TasksetConfig):
    largest: int = 3


class Sums(vf.Taskset[AddUp, SumsConfig]):
    def load(self) -> Any:
        for number in range(self.config.largest):
            prompt = f"What is {number} + 1?"
            yield AddUp(Sum(prompt=prompt, system_prompt="Be brief.", terms=(number, 1)), self.config.task)


def taskset(name: str, kind: type, *more: type) -> str:
    """Make a module that exports a taskset, as an installed package would."""
    module = ModuleType(name)
    for exported in (kind, *more):
        setattr(module, exported.__name__, exported)
    module.__all__ = [exported.__name__ for exported in (kind, *more)]  # type: ignore[attr-defined]
    module.__spec__ = None
    sys.modules[name] = module
    taskset_class.cache_clear()
    return name


@pytest.fixture(autouse=True)
def modules() -> Any:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def one_task(task: type) -> type:
    """A taskset of one task."""

    class One(vf.Taskset[task]):  # type: ignore[valid-type]
        def load(self) -> Any:
            yield task(task.data_type()(prompt="How are you?"), self.config.task)

    return One


def item_of(row: dict[str, Any], completion: str) -> ScoreItem:
    return ScoreItem("", completion, None, {FIELD: json.loads(json.dumps(row[FIELD]))})


def test_rewards_are_the_librarys_weighted_sum() -> None:
    name = taskset("w4_sums", Sums)
    rows = [json.loads(json.dumps(row)) for row in verifiers.rows(name, None, params={"largest": 4})]
    assert [row["id"] for row in rows] == [f"{name}-{index}" for index in range(4)]
    assert rows[2]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 2 + 1?"},
    ]
    scorer = registry.load(f"verifiers:{name}")
    assert scorer.name == f"verifiers:{name}"
    assert scorer.score(item_of(rows[2], "3")) == pytest.approx(1.0)
    assert scorer.score(item_of(rows[2], "The answer, as far as I can see, is 3")) == pytest.approx(0.9)
    assert scorer.score(item_of(rows[2], "4")) == pytest.approx(0.1)
    assert scorer.score(item_of(rows[2], "<think>it is 3</think>" + "no idea whatsoever of it")) == 0.0


def test_counts_orders_and_settings_of_a_taskset() -> None:
    name = taskset("w4_sums", Sums)
    assert len(list(rows_from(f"verifiers:{name}", 2))) == 2
    shuffled = [row["id"] for row in verifiers.rows(name, None, seed=3, params={"largest": 20})]
    assert sorted(shuffled) != shuffled
    assert len(set(shuffled)) == 20
    with pytest.raises(InvalidInput, match=r"'w4_sums' does not take these settings: .*smallest"):
        list(verifiers.rows(name, None, params={"smallest": 1}))
    with pytest.raises(InvalidInput, match="settings of its tasks"):
        list(verifiers.rows(name, None, params={"task": {}}))
    with pytest.raises(InvalidInput, match="no taskset 'w4_nothing' here"):
        list(verifiers.rows("w4_nothing", 1))


class Boxed(vf.Task[vf.TaskData]):
    NEEDS_CONTAINER = True


class Prepared(vf.Task[vf.TaskData]):
    async def setup(self, trace: Any, runtime: Any) -> None:
        """Prepares."""


class Tools(vf.Toolset):
    @vf.tool
    async def look(self) -> str:
        """Look."""
        return ""


class WithTools(vf.Task[vf.TaskData]):
    @classmethod
    def toolsets(cls, config: Any) -> list[Any]:
        return [Tools(vf.ToolsetConfig())]


class RunsCode(vf.Task[vf.TaskData]):
    @vf.reward
    async def said(self, trace: vf.Trace) -> float:
        return 1.0

    @vf.reward
    async def passes(self, trace: vf.Trace, runtime: Any) -> float:
        return 1.0


class Rewrites(vf.Task[vf.TaskData]):
    @vf.intercept
    async def change(self, request: vf.Request) -> Any:
        """Changes."""


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (Boxed, "needs a container"),
        (Prepared, "prepares a machine before the answer"),
        (WithTools, r"has tools \(Tools\)"),
        (RunsCode, r"judges with a runtime \(passes\), and there is none"),
        (Rewrites, r"rewrites requests \(change\)"),
    ],
)
def test_what_needs_more_than_an_answer_is_refused_by_name(task: type, why: str) -> None:
    name = taskset("w4_more", one_task(task))
    with pytest.raises(InvalidInput, match=f"taskset 'w4_more' {why}"):
        list(verifiers.rows(name, None))
    data = {"taskset": name, "data": {"prompt": "How are you?"}}
    scorer = registry.load(f"verifiers:{name}")
    with pytest.raises(ValueError, match=why):
        scorer.score(ScoreItem("", "Well.", None, {FIELD: data}))


def test_an_environment_of_its_own_is_refused_by_name() -> None:
    class Duel(vf.Env[vf.SingleAgentEnvConfig]):
        """More than one turn."""

    name = taskset("w4_duel", one_task(AddOne), Duel)
    with pytest.raises(InvalidInput, match=r"plays in an environment of its own \(Duel\)"):
        list(verifiers.rows(name, None))


class AddOne(vf.Task[vf.TaskData]):
    @vf.metric
    async def length(self, trace: vf.Trace) -> float:
        return 1.0


def test_a_task_without_any_reward_is_an_error_and_not_zero() -> None:
    name = taskset("w4_unjudged", one_task(AddOne))
    (row,) = verifiers.rows(name, None)
    with pytest.raises(ValueError, match="gave no reward"):
        registry.load(f"verifiers:{name}").score(item_of(row, "1"))


def test_tasks_of_another_taskset_are_found_before_the_first_token() -> None:
    name = taskset("w4_sums", Sums)
    scorer: Any = registry.build(f"verifiers:{name}")
    with pytest.raises(MissingInput, match="no field 'verifiers'"):
        scorer.check_fields(ScoreItem("", "", None, {}))
    with pytest.raises(MissingInput, match="of taskset 'other', and the scorer of 'w4_sums'"):
        scorer.check_fields(ScoreItem("", "", None, {FIELD: {"taskset": "other", "data": {}}}))
    with pytest.raises(InvalidInput, match="of the form verifiers:TASKSET"):
        registry.build("verifiers")
    with pytest.raises(InvalidInput, match="no taskset 'w4_nothing' here"):
        registry.load("verifiers:w4_nothing")


def test_a_taskset_is_a_module_that_an_allow_list_must_name() -> None:
    with pytest.raises(InvalidInput, match="does not allow"):
        registry.check("verifiers:w4_sums", ScorerRules(("my_scorers",)))
    registry.check("verifiers:my-scorers", ScorerRules(("my_scorers",)))


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, program = blocks(PAGE)
    assert module.startswith("# capitals.py")
    (tmp_path / "capitals.py").write_text(module, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with running_service() as address:
        lead_to(address, monkeypatch)
        assert len(run_block(program, PAGE)["batch"].trees) == 3

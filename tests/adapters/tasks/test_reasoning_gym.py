"""reasoning-gym: every data set's items survive a task file, and score as the library scores them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("reasoning_gym", reason="scripts/test puts it on the path")

from reasoning_gym.factory import DATASETS, create_dataset
from tests.support.pages import blocks, lead_to, run_block

from treeroll.cli.main import app
from treeroll.errors import InvalidInput
from treeroll.integrations import reasoning_gym
from treeroll.integrations.sources import rows_from
from treeroll.scorers import registry
from treeroll.scorers.base import MissingInput, ScoreItem
from treeroll.scorers.reasoning_gym import FIELD, ReasoningGymScorer
from treeroll.testing.service import running_service

# Its data sets leave files open.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

PAGE = "integrations/reasoning-gym.md"
SEED = 11
# What needs settings that JSON does not hold.
NOT_BY_NAME = {"composite"}
# Items of these take long to make as they are set.
SMALL = {"sokoban": {"max_w": 7, "max_h": 7, "max_boxes": 4}}


def through_json(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a service gets it."""
    return json.loads(json.dumps(row))


def item_of(row: dict[str, Any], completion: str) -> ScoreItem:
    return ScoreItem(row["prompt"], completion, row.get("answer"), {FIELD: row[FIELD]})


def outcome(score: Callable[[], float]) -> float | type[Exception]:
    """The score; what was raised instead, as some data sets do for answers of another form."""
    try:
        return score()
    except Exception as error:
        return type(error)


@pytest.fixture(scope="module")
def scorer() -> ReasoningGymScorer:
    found = registry.load("reasoning_gym")
    assert isinstance(found, ReasoningGymScorer)
    return found


@pytest.mark.parametrize("name", sorted(set(DATASETS) - NOT_BY_NAME))
def test_an_item_scores_behind_a_task_file_as_it_does_in_the_library(name: str, scorer: ReasoningGymScorer) -> None:
    row = through_json(next(iter(reasoning_gym.rows(name, 1, seed=SEED, params=SMALL.get(name)))))
    dataset = create_dataset(name, size=1, seed=SEED, **SMALL.get(name, {}))
    original = dataset[0]
    assert row["prompt"] == original["question"]
    scorer.check(item_of(row, ""))
    for answer in ["no answer at all"] if original["answer"] is None else [str(original["answer"]), "no answer"]:
        expected = outcome(lambda answer=answer: float(dataset.score_answer(answer.strip(), original)))
        item = item_of(row, f"I think. <answer>{answer}</answer>")
        assert outcome(lambda item=item: scorer.score(item)) == expected


def test_most_data_sets_give_full_marks_for_their_own_answer(scorer: ReasoningGymScorer) -> None:
    names = ["chain_sum", "arc_agi", "rearc", "sudoku", "word_sorting", "calendar_arithmetic", "manipulate_matrix"]
    for name in names:
        row = through_json(next(iter(reasoning_gym.rows(name, 1, seed=SEED))))
        assert scorer.score(item_of(row, f"<answer>{row['answer']}</answer>")) == 1.0, name


def test_sources_and_options_that_are_none_are_refused_in_one_sentence() -> None:
    for source in ("chain_sum", "reasoning_gym:", "gym:chain_sum"):
        with pytest.raises(InvalidInput, match=r"names no source of tasks; there are reasoning_gym:NAME, verifiers"):
            rows_from(source, 1)
    with pytest.raises(InvalidInput, match="tasks from 'verifiers:sums' know no chat"):
        rows_from("verifiers:sums", 1, chat=True)


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("<answer>{}</answer>", 1.0),
        ("<answer>wrong</answer> no: <answer> {} </answer>", 1.0),
        (r"so \boxed{{{}}}", 1.0),
        ("{}", 1.0),
        ("<think><answer>{}</answer></think>nothing", 0.0),
        ("<think><answer>{}</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_the_answer_is_looked_for_in_tags_then_a_box_then_all(
    completion: str, reward: float, scorer: ReasoningGymScorer
) -> None:
    row = through_json(next(iter(reasoning_gym.rows("chain_sum", 1, seed=SEED))))
    assert scorer.score(item_of(row, completion.format(row["answer"]))) == reward


def test_scoring_does_not_change_the_item_that_the_next_leaf_is_scored_by(scorer: ReasoningGymScorer) -> None:
    row = through_json(next(iter(reasoning_gym.rows("sudoku", 1, seed=SEED))))
    scores = [scorer.score(item_of(row, f"<answer>{row['answer']}</answer>")) for _ in range(3)]
    assert scores == [1.0, 1.0, 1.0]


def test_an_item_that_is_another_here_is_no_score(scorer: ReasoningGymScorer) -> None:
    row = through_json(next(iter(reasoning_gym.rows("chain_sum", 1, seed=SEED))))
    row[FIELD]["question"] = "0" * 16
    with pytest.raises(ValueError, match="item 0 of 'chain_sum' asks another question here, with reasoning-gym"):
        scorer.check(item_of(row, ""))


@pytest.mark.parametrize("named", [None, {}, {"dataset": "chain_sum", "index": 0, "question": ""}, "chain_sum"])
def test_a_task_that_names_no_item_is_found_before_the_first_token(named: Any, scorer: ReasoningGymScorer) -> None:
    with pytest.raises(MissingInput, match="the task"):
        scorer.check_fields(ScoreItem("", "", "1", {FIELD: named} if named is not None else {}))


def test_unknown_data_sets_and_parameters_are_refused_in_one_sentence() -> None:
    with pytest.raises(InvalidInput, match=r"no data set 'chain_sums'; it has .*chain_sum"):
        list(reasoning_gym.rows("chain_sums", 1))
    with pytest.raises(InvalidInput, match="does not make 'chain_sum' with min_terms=0"):
        list(reasoning_gym.rows("chain_sum", 1, params={"min_terms": 0}))
    with pytest.raises(InvalidInput, match="unexpected keyword argument 'terms'"):
        list(reasoning_gym.rows("chain_sum", 1, params={"terms": 3}))
    with pytest.raises(InvalidInput, match="say how many with --count"):
        list(reasoning_gym.rows("chain_sum", None))


def test_the_command_writes_tasks_that_a_run_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tasks.jsonl"
    wanted = ["reasoning_gym:chain_sum", "--count", "3", "--seed", "5", "--set", "max_terms=2", "--set", "min_terms=2"]
    assert app.run(["tasks", "from", *wanted, "-o", str(path)]) == 0
    assert "3 tasks in" in capsys.readouterr().out
    assert app.run(["tasks", "from", *wanted, "--chat"]) == 0
    chats = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["messages"][0]["role"] for row in chats] == ["system"] * 3
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"chain_sum-5-{index}" for index in range(3)]
    assert all(row["prompt"].count("+") + row["prompt"].count(" - ") >= 1 for row in rows)


def test_a_run_refuses_tasks_of_another_version_of_the_library() -> None:
    import treeroll

    rows = [through_json(row) for row in reasoning_gym.rows("chain_sum", 2, seed=SEED)]
    for row in rows:
        row[FIELD]["question"] = "0" * 16
    with running_service() as address:
        run = treeroll.connect(address).create_run("other", recipe="flat", leaves=2, scorer="reasoning_gym")
        with pytest.raises(InvalidInput, match=r"can score none of 2 tasks .* asks another question here"):
            run.submit(rows)


def test_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(PAGE)
    with running_service() as address:
        lead_to(address, monkeypatch)
        assert run_block(block, PAGE)["rewards"]

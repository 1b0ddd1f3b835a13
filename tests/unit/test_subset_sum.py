"""The second family: tasks that can be solved and were not trained on, a teacher that errs in choices alone."""

import json
import random
import re
from collections import Counter
from itertools import combinations

import pytest

from treeroll.boxed import last_boxed
from treeroll.scorers import registry
from treeroll.scorers.base import MissingInput, ScoreItem
from treeroll.subset_sum import MODEL_DIR, TASKS_FILE
from treeroll.subset_sum.puzzle import WIDTHS, Puzzle, make_tasks
from treeroll.subset_sum.teacher import plan, solution, training_example
from treeroll.subset_sum.tokens import EOS_ID, VOCAB_SIZE, decode, encode

PUZZLE = Puzzle((14, 15, 3, 10, 17, 9, 8, 6), 49, 51)
EXTRA = {"numbers": list(PUZZLE.numbers), "low": 49, "high": 51}


def tasks() -> list[dict]:
    return [json.loads(line) for line in TASKS_FILE.read_text().splitlines()]


def puzzle_of(task: dict) -> Puzzle:
    return Puzzle(tuple(task["numbers"]), task["low"], task["high"])


def test_tasks_are_spread_evenly_held_out_and_made_by_the_shipped_rule() -> None:
    found = tasks()
    assert found == make_tasks(40, 0)
    assert Counter(task["difficulty"] for task in found) == dict.fromkeys(WIDTHS, 40)
    assert all(puzzle_of(task).held_out() for task in found)
    assert all(task["prompt"] == puzzle_of(task).prompt() for task in found)
    assert len({task["prompt"] for task in found}) == len(found)


def test_every_task_can_be_solved() -> None:
    for task in tasks():
        sums = (sum(some) for count in range(1, 9) for some in combinations(task["numbers"], count))
        assert any(task["low"] <= total <= task["high"] for total in sums), task


def test_training_never_shows_a_task() -> None:
    rng = random.Random(1)
    shown = {training_example(rng)[0] for _ in range(300)}
    assert not shown & {task["prompt"] for task in tasks()}


def test_what_the_teacher_writes_is_right_though_what_it_picks_may_not_be() -> None:
    rng = random.Random(2)
    solved = 0
    for task in tasks():
        puzzle = puzzle_of(task)
        text = solution(puzzle, rng)
        assert text.startswith(plan(puzzle))
        total, rest = 0, sum(puzzle.numbers)
        for number, word, so_far, left in re.findall(r"(\d\d) (take|skip) sum(\d\d) rest(\d\d);\n", text):
            total += int(number) * (word == "take")
            rest -= int(number)
            assert (int(so_far), int(left)) == (total, rest)
        for drop, add, change in re.findall(r"(?:Drop(\d\d)|Add(\d\d)|Swap(\d\d for\d\d)) total", text):
            if change:
                drop, add = change[:2], change[-2:]
            total += int(add or 0) - int(drop or 0)
        boxed = last_boxed(text)
        assert boxed is not None
        picked = [int(part) for part in boxed.split(",")] if boxed else []
        assert sum(picked) == total
        assert puzzle.solved_by(boxed) == (puzzle.low <= total <= puzzle.high)
        solved += puzzle.solved_by(boxed)
    assert 0.4 < solved / len(tasks()) < 0.95


@pytest.mark.parametrize(
    "picked", ["", "17", "17,17,15", "17,14,10,8", "17,14,10,08,", "17,14,10,99", "\u0661\u0667,14,10,08"]
)
def test_wrong_boxes_are_wrong(picked: str) -> None:
    assert not PUZZLE.solved_by(picked)


def test_any_order_of_a_right_subset_is_right() -> None:
    assert PUZZLE.solved_by("08,17,14,10")
    assert PUZZLE.solved_by("17,15,10,09")


def test_the_scorer_reads_the_last_box() -> None:
    scorer = registry.build("subset")
    assert scorer.score(ScoreItem("", r"\boxed{17} \boxed{17,14,10,08}", extra=EXTRA)) == 1.0
    assert scorer.score(ScoreItem("", "17,14,10,08", extra=EXTRA)) == 0.0


@pytest.mark.parametrize(
    ("extra", "error"),
    [
        ({}, MissingInput),
        ({**EXTRA, "low": None}, MissingInput),
        ({**EXTRA, "numbers": "14,15"}, ValueError),
        ({**EXTRA, "numbers": [True, 2]}, ValueError),
        ({**EXTRA, "numbers": [100]}, ValueError),
        ({**EXTRA, "low": 52}, ValueError),
        ({**EXTRA, "high": 51.0}, ValueError),
    ],
)
def test_a_task_that_is_no_puzzle_is_an_error_and_no_zero(extra: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        registry.build("subset").score(ScoreItem("", r"\boxed{17,14,10,08}", extra=extra))


def test_texts_come_back_from_their_tokens() -> None:
    rng = random.Random(3)
    for _ in range(50):
        for text in training_example(rng):
            ids = encode(text)
            assert decode(ids) == text
            assert max(ids) < VOCAB_SIZE
            assert EOS_ID not in ids


def test_the_service_reads_the_shipped_tokenizer_as_the_trainer_wrote_it() -> None:
    from treeroll.generator.detokenizer import Detokenizer

    tokenizer = Detokenizer(MODEL_DIR).tokenizer
    rng = random.Random(4)
    for _ in range(20):
        for text in training_example(rng):
            assert tokenizer.encode(text, add_special_tokens=False).ids == encode(text)
            assert tokenizer.decode(encode(text)) == text

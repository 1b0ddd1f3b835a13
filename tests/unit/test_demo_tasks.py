"""The shipped demo tasks: complete, right, of useful length, and never seen in training."""

import json
import math
import random
import re
from collections import Counter
from itertools import islice

import pytest

from treeroll.demo import TASKS_FILE, arithmetic


@pytest.fixture(scope="module")
def tasks() -> list[dict]:
    return [json.loads(line) for line in TASKS_FILE.read_text().splitlines()]


def expression_of(task: dict) -> str:
    match = re.fullmatch(r"Compute ([0-9+*-]+)\.\n", task["prompt"])
    assert match, task["prompt"]
    return match[1]


def tokens_of(expression: str) -> arithmetic.Tokens:
    return [int(part) if part.isdigit() else part for part in re.findall(r"\d+|[+*-]", expression)]


def value_of(expression: str) -> int:
    """Worked out without the code under test: signed terms, each a product of its factors."""
    terms = re.findall(r"([+-]?)([\d*]+)", expression)
    return sum((-1 if sign == "-" else 1) * math.prod(map(int, term.split("*"))) for sign, term in terms)


def test_two_hundred_tasks_spread_evenly(tasks: list[dict]) -> None:
    assert len(tasks) == 200
    assert len({task["id"] for task in tasks}) == 200
    assert len({task["prompt"] for task in tasks}) == 200
    assert Counter(task["difficulty"] for task in tasks) == dict.fromkeys(arithmetic.LEVELS, 20)
    assert all(set(task) == {"id", "prompt", "answer", "difficulty"} for task in tasks)


def test_answers_are_right(tasks: list[dict]) -> None:
    for task in tasks:
        assert task["answer"] == str(value_of(expression_of(task))), task


def test_tasks_are_held_out(tasks: list[dict]) -> None:
    assert all(arithmetic.is_held_out(expression_of(task)) for task in tasks)


def test_reference_solutions_end_in_the_answer_and_have_depth(tasks: list[dict]) -> None:
    for task in tasks:
        solution, answer = arithmetic.solve(tokens_of(expression_of(task)))
        assert solution.endswith(f"The answer is \\boxed{{{task['answer']}}}.")
        assert str(answer) == task["answer"]
        assert 60 <= len(solution) + 1 <= 250  # one token a character, and the end-of-text token


def test_every_step_of_a_solution_is_true_and_never_negative() -> None:
    rng = random.Random(0)
    for level in arithmetic.LEVELS.values():
        for _ in range(20):
            tokens = arithmetic.draw(level, rng)
            values = {value_of(arithmetic.render(rest)) for rest in arithmetic.remainders(tokens)}
            assert len(values) == 1
            assert min(values) >= 0
            solution, _ = arithmetic.solve(tokens)
            for left, right in re.findall(r"Step \d+: ([0-9+*-]+)=(\d+)", solution):
                assert value_of(left) == int(right)


def test_training_examples_never_show_a_held_out_expression() -> None:
    rng = random.Random(0)
    shown = 0
    for level in [*arithmetic.LEVELS.values(), *arithmetic.ONE_STEP]:
        for _ in range(100):
            prompt, solution = arithmetic.training_example(level, rng)
            for expression in re.findall(r"(?:Compute |so )([0-9+*-]+)\.\n", prompt + solution):
                if len(tokens_of(expression)) >= 5:
                    shown += 1
                    assert not arithmetic.is_held_out(expression)
    assert shown > 1000


def test_tasks_to_train_on_are_right_repeatable_and_never_held_out(tasks: list[dict]) -> None:
    drawn = list(islice(arithmetic.training_tasks(), 500))
    assert drawn == list(islice(arithmetic.training_tasks(), 500))
    assert len({task["id"] for task in drawn}) == 500
    assert Counter(task["difficulty"] for task in drawn).keys() == set(arithmetic.TRAINING_LEVELS)
    assert not {task["prompt"] for task in drawn} & {task["prompt"] for task in tasks}
    for task in drawn:
        assert task["answer"] == str(value_of(expression_of(task)))
        assert not arithmetic.is_held_out(expression_of(task))

"""The choice of ETS against all choices, on trees small enough to try them."""

import random
from dataclasses import replace
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treeroll.errors import InvalidInput
from treeroll.policies.branch import ets_program
from treeroll.policies.branch.ets_problem import Problem, closure, greedy
from treeroll.policies.branch.ets_program import IntegerProgram

PROGRAM = IntegerProgram()


@st.composite
def problems(draw, most=8):
    """Trees of any shape; whole numbers, so that equal choices are equal. Paths end where nothing is below."""
    parents = [0]
    for number in range(1, draw(st.integers(2, 2 * most))):
        parents.append(draw(st.integers(0, number - 1)))
    ends = [node for node in range(len(parents)) if node and node not in parents[1:]]
    if len(ends) > most:
        ends = ends[:most]
    above = sorted({node for end in ends for node in Problem(parents, [], [end], [], 0).above(0)})
    number = {node: place for place, node in enumerate(above)}
    parents = [number[parents[node]] for node in above]
    leaves = [number[end] for end in ends]
    weights = draw(st.lists(st.integers(1, 9), min_size=len(parents), max_size=len(parents)))
    wanted = draw(st.lists(st.integers(0, 6), min_size=len(leaves), max_size=len(leaves)).filter(any))
    labels = draw(st.lists(st.integers(0, 4), min_size=len(leaves), max_size=len(leaves)))
    seen = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    return Problem(
        parents,
        [weight / sum(weights) for weight in weights],
        leaves,
        [want / sum(wanted) for want in wanted],
        draw(st.sampled_from([0.0, 0.3, 1.0, 2.0, 1e6])),
        [seen[label] for label in labels],
        draw(st.sampled_from([0.1, 1.0, 1.5, 1e3])),
    )


def choices(problem):
    paths = range(len(problem.leaves))
    return chain.from_iterable(combinations(paths, size) for size in range(1, len(paths) + 1))


def best(problem):
    return max(map(problem.value, choices(problem)))


def close(value):
    return pytest.approx(value, rel=1e-6, abs=1e-6)


@settings(max_examples=60)
@given(problems(most=12))
def test_the_program_finds_the_best_of_all_choices(problem):
    assert problem.value(PROGRAM.solve(problem)) == close(best(problem))


@settings(max_examples=200)
@given(problems(most=12))
def test_the_pass_over_the_tree_finds_it_without_coverage(problem):
    problem = replace(problem, clusters=(), coverage=0.0)
    kept = closure(problem)
    assert kept
    assert problem.value(kept) == close(best(problem))


@settings(max_examples=60)
@given(problems())
def test_program_and_pass_agree_where_coverage_is_worth_nothing(problem):
    problem = replace(problem, coverage=0.0)
    assert problem.value(PROGRAM.solve(problem)) == close(problem.value(closure(problem)))


@given(problems())
def test_the_greedy_choice_is_one_and_no_worse_than_without_coverage(problem):
    kept = greedy(problem)
    assert kept == sorted(set(kept))
    assert best(problem) + 1e-6 * max(1.0, problem.price) >= problem.value(kept)
    assert problem.value(kept) >= problem.value(closure(problem)) - 1e-9 * max(1.0, problem.price)


def test_the_greedy_choice_covers_what_pays():
    # Two paths below one node, equal but for their clusters: the second costs one node of four and covers one of two.
    problem = Problem([0, 0, 1, 1], [0.25] * 4, [2, 3], [1.0, 0.0], 1.0, [0, 1], 0.4)
    assert closure(problem) == greedy(problem) == [0]
    assert greedy(replace(problem, coverage=0.6)) == [0, 1]
    # What it covers is covered by the first already.
    assert greedy(replace(problem, coverage=0.6, clusters=[0, 0])) == [0]


@given(problems())
def test_free_nodes_end_no_path_that_has_a_share(problem):
    wanted = [path for path, share in enumerate(problem.shares) if share]
    assert closure(replace(problem, price=0.0, clusters=(), coverage=0.0)) == wanted


@settings(max_examples=30)
@given(problems())
def test_nodes_beyond_price_leave_one_path(problem):
    dear = replace(problem, price=1e6, coverage=0.1)
    assert len(PROGRAM.solve(dear)) == len(greedy(dear)) == len(closure(replace(dear, clusters=()))) == 1


def test_a_search_beyond_its_limit_is_given_up(monkeypatch):
    rng = random.Random(0)
    parents = [0, *[0] * 8, *[1 + leaf // 8 for leaf in range(64)]]
    shares = [rng.random() / 32 for _ in range(64)]
    clusters = [*range(12), *(rng.randrange(12) for _ in range(52))]
    problem = Problem(parents, [1 / 73] * 73, list(range(9, 73)), shares, 1.0, clusters, 1.4)
    assert PROGRAM.solve(problem) is not None
    monkeypatch.setitem(ets_program.OPTIONS, "mip_max_nodes", 0)
    assert IntegerProgram().solve(problem) is None


def test_without_the_solver_coverage_is_refused(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(ets_program.importlib, "import_module", missing)
    with pytest.raises(InvalidInput, match=r"'ets' needs the package highspy .* or set coverage to 0"):
        IntegerProgram()

"""Entropy from top logprobs."""

import math

import pytest

from treeroll.generator.entropy import estimate_entropies


def entropy(p: list[float]) -> float:
    return -sum(q * math.log(q) for q in p)


def test_it_is_exact_when_all_logprobs_are_known() -> None:
    p, q = [0.5, 0.25, 0.25], [0.9, 0.1]
    logprobs = [math.log(x) for x in p + q]
    assert estimate_entropies(logprobs, [0, 3], 100) == pytest.approx([entropy(p), entropy(q)])


def test_the_rest_is_taken_as_spread_evenly() -> None:
    [estimate] = estimate_entropies([math.log(0.6)], [0], 5)
    assert estimate == pytest.approx(entropy([0.6, 0.1, 0.1, 0.1, 0.1]))


def test_tokens_that_cannot_come_add_nothing() -> None:
    assert estimate_entropies([0.0, -math.inf, -math.inf], [0], 50) == [0.0]
    assert estimate_entropies([], [], 50) == []

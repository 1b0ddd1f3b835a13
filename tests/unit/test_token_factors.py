"""Token factors and clip ranges: ECHO's and AEPO's arithmetic, and what a batch does with it."""

import math
from typing import Any

import numpy as np
import pytest
from tests.support.trees import floats, sample_tree

from treeroll.client import ClipRange, TokenFactor
from treeroll.client.clipping import clip_ranges
from treeroll.client.factors import token_factors
from treeroll.client.records import Sample, samples_of
from treeroll.client.tensors import padded
from treeroll.errors import InvalidInput

AEPO = TokenFactor(confidence_weight=0, clamp=math.inf)

# z is -1, 0, 1 for both terms; the fourth token is not trained on, and far off.
ENTROPIES = np.array([[0.0, 2.0, 4.0, 90.0]], np.float32)
LOGPROBS = np.log(np.array([[0.75, 0.5, 0.25, 1e-9]], np.float32))
MASK = np.array([[1, 1, 1, 0]])


def two_scored(entropies: bool = True) -> list[Sample]:
    """Leaf 0.0 has 5 tokens, leaf 0.1 has 3, both with reward and credit; 2 are shared. Nobody scored t1's leaf 0.1."""
    trees = [sample_tree(), sample_tree("t1")]
    trees[0].leaves[1].reward, trees[0].leaves[1].reward_status = 0.0, "ok"
    trees[0].leaves[1].advantages = np.array([0.25, 2.0], "<f8").tobytes()
    for tree in trees:
        for node in tree.nodes:
            if entropies and node.number:
                node.entropies = floats(*(0.5 * node.number + place for place in range(len(node.logprobs) // 4)))
    return [sample for tree in trees for sample in samples_of(tree)]


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (TokenFactor(), [0.8, 1.0, 1.2]),
        (TokenFactor(entropy_weight=0.5), [0.85, 1.0, 1.15]),
        (TokenFactor(entropy_weight=3), [0.8, 1.0, 1.2]),  # the sum is clamped: 3 + 1 to 2
        (TokenFactor(entropy_weight=3, clamp=math.inf), [0.6, 1.0, 1.4]),
        (TokenFactor(entropy_weight=0), [0.9, 1.0, 1.1]),
        (TokenFactor(clamp=0.5), [0.95, 1.0, 1.05]),
        (TokenFactor(0.5, clamp=math.inf), [0.0, 1.0, 2.0]),
        (TokenFactor(1.0, clamp=math.inf), [0.0, 1.0, 3.0]),  # not -1
        (AEPO, [0.9, 1.0, 1.1]),
    ],
)
def test_factors_follow_entropy_and_doubt(factor: TokenFactor, expected: list[float]) -> None:
    found = token_factors(factor, ENTROPIES, LOGPROBS, MASK)
    assert found.dtype == np.float32
    assert found[0].tolist() == pytest.approx([*expected, 1.0], abs=1e-6)


def test_equal_tokens_and_a_single_token_have_factor_one() -> None:
    assert token_factors(TokenFactor(), ENTROPIES[:, [1, 1]], LOGPROBS[:, [1, 1]], MASK[:, :2]).tolist() == [[1, 1]]
    assert token_factors(TokenFactor(), ENTROPIES, LOGPROBS, MASK * [1, 0, 0, 0]).tolist() == [[1, 1, 1, 1]]


def test_a_batch_multiplies_its_advantages_whitened_ones_too() -> None:
    samples = two_scored()
    plain, scaled = padded(samples), padded(samples, factor=TokenFactor())
    entropies = np.zeros((4, 5), np.float32)
    for row, sample in zip(entropies, samples, strict=True):
        row[: len(sample.entropies)] = sample.entropies
    factors = token_factors(TokenFactor(), entropies, plain["sampling_per_token_logps"], plain["loss_mask"])
    assert len(np.unique(factors[:3])) > 4
    assert scaled["advantages"].tolist() == (plain["advantages"] * factors).tolist()
    whitened = padded(samples, whiten=True)["advantages"]
    both = padded(samples, whiten=True, factor=TokenFactor())["advantages"]
    assert both.tolist() == (whitened * factors).tolist()
    assert both.dtype == np.float32


def test_only_tokens_with_credit_that_are_trained_on_are_in_the_statistics() -> None:
    samples = two_scored()
    expected = padded(samples[:3], factor=TokenFactor())["advantages"]
    assert padded(samples, factor=TokenFactor(), mask_unscored=False)["advantages"][:3].tolist() == expected.tolist()
    confident = padded(samples, factor=AEPO, max_prob=0.5)  # leaves the own tokens of the leaves: six and one
    values = np.array([1.0, 2.0, 3.0] * 2 + [1.5])
    standard = (values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-8)
    assert confident["advantages"][0].tolist() == pytest.approx([0.25, 0.25, *(-1.5 * (1 + 0.1 * standard[:3]))])


def test_samples_without_entropies_are_refused_by_name_unless_none_are_needed() -> None:
    samples = two_scored(entropies=False)
    with pytest.raises(InvalidInput, match=r"^sample t0:0\.0 has no entropies .* top_logprobs of 1 to 20"):
        padded(samples, factor=TokenFactor())
    assert padded(samples, factor=TokenFactor(entropy_weight=0))["advantages"][0, 4] != -1.5


def test_clip_ranges_follow_the_last_tokens() -> None:
    [sample] = two_scored()[:1]
    sample.logprobs = np.array([-np.inf] * 4 + [0.0] * 16, np.float32)
    sigmoid = 1 / (1 + math.exp(-4))
    assert clip_ranges([sample], ClipRange()).tolist() == pytest.approx([0.125])
    assert clip_ranges([sample], ClipRange(tail=20))[0] > 0.125
    sample.logprobs = np.full(3, -np.inf, np.float32)
    assert clip_ranges([sample], ClipRange()).tolist() == pytest.approx([0.05 + 0.15 * sigmoid])


def test_a_batch_has_the_clip_range_if_asked() -> None:
    samples = two_scored()
    assert "clip_range" not in padded(samples)
    column = padded(samples, clip_range=ClipRange(tail=1))["clip_range"]
    assert (column.shape, column.dtype) == ((4,), np.float32)
    assert column[1] > column[0]  # -1.5 against -1


@pytest.mark.parametrize(
    ("rule", "values", "sentence"),
    [
        (TokenFactor, {"strength": 0}, "strength must be above 0 and at most 1, got 0"),
        (TokenFactor, {"strength": math.nan}, "strength must be above 0 and at most 1, got nan"),
        (TokenFactor, {"entropy_weight": -1}, "entropy_weight must be a number of 0 or more, got -1"),
        (TokenFactor, {"confidence_weight": math.inf}, "confidence_weight must be a number of 0 or more, got inf"),
        (TokenFactor, {"entropy_weight": 0, "confidence_weight": 0}, "are both 0, so the factor would always be 1"),
        (TokenFactor, {"clamp": 0}, "clamp must be above 0, got 0"),
        (ClipRange, {"lowest": 0.3}, "0 < lowest <= highest <= 1, got lowest=0.3 and highest=0.2"),
        (ClipRange, {"highest": math.nan}, "0 < lowest <= highest <= 1"),
        (ClipRange, {"slope": -1}, "slope must be 0 to 1000, got -1"),
        (ClipRange, {"tail": 0}, "tail must be 1 or more tokens, got 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(rule: Any, values: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        rule(**values)

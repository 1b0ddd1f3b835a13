"""The figure of merit: exact where gradients are given, and as derived in a world that is worked out."""

import math

import numpy as np
import pytest

from treeroll.bench.learning import noise
from treeroll.bench.learning.closed_form import FLAT, OPEN, SHAPES, World, efficiencies

SHAPE = {shape.name: shape for shape in SHAPES}


def vectors(*rows: list[float]) -> list[np.ndarray]:
    return [np.array(row, np.float32) for row in rows]


def test_a_gradient_without_noise_has_no_noise_tokens() -> None:
    gradients = vectors([1, 0], [0, 2])
    known = noise.reference(gradients, gradients)
    one = noise.draw(1000, gradients, gradients, gradients)
    assert noise.scale([one], known) == pytest.approx(1)
    assert noise.rho_squared([one], known) == pytest.approx(1)
    assert noise.noise_tokens([one], known) == pytest.approx(0)
    assert noise.noise_tokens_by_task([one], known) == pytest.approx(0)


def test_noise_as_large_as_the_gradient_takes_its_own_tokens() -> None:
    truth = vectors([2, 0])
    known = noise.reference(truth, truth)
    draws = [noise.draw(500, vectors([2, side]), truth, truth) for side in (2, -2)]
    assert noise.rho_squared(draws, known) == pytest.approx(0.5)
    assert noise.noise_tokens(draws, known) == pytest.approx(500)
    assert noise.noise_tokens_by_task(draws, known) == pytest.approx(500)


def test_a_gradient_of_half_the_size_is_no_noisier() -> None:
    truth = vectors([2, 0])
    known = noise.reference(truth, truth)
    draws = [noise.draw(500, vectors([1, side]), truth, truth) for side in (1, -1)]
    assert noise.scale(draws, known) == pytest.approx(0.5)
    assert noise.noise_tokens(draws, known) == pytest.approx(500)
    assert noise.noise_tokens_by_task(draws, known) == pytest.approx(500)


def test_by_task_leaves_out_what_different_tasks_noise_has_in_common_by_chance() -> None:
    truth = vectors([1, 0], [1, 0])
    known = noise.reference(truth, truth)
    # Noise of both tasks happens to have the same sign in either seed.
    draws = [noise.draw(100, vectors([1, side], [1, side]), truth, truth) for side in (1, -1)]
    assert noise.noise_tokens(draws, known) == pytest.approx(100)
    assert noise.noise_tokens_by_task(draws, known) == pytest.approx(50)


def test_draws_that_go_further_along_the_gradient_by_chance_are_no_noisier_for_it() -> None:
    truth = vectors([2, 0])
    known = noise.reference(truth, truth)
    draws = [noise.draw(500, vectors([3, side]), truth, truth) for side in (1, -1)]
    assert noise.noise_tokens_by_task(draws, known) == pytest.approx(500 / 9)
    # Of an arm whose scale is known to be 1 it is chance: the distance from the gradient is 1 along it and 1 aside.
    assert noise.noise_tokens_unbiased(draws, known) == pytest.approx(500 * (1 + 1) / 4)


def test_against_the_gradient_or_without_one_nothing_is_claimed() -> None:
    truth = vectors([1, 0])
    known = noise.reference(truth, truth)
    assert noise.noise_tokens([noise.draw(1, vectors([-1, 0]), truth, truth)], known) == math.inf
    nothing = noise.reference(vectors([1, 0]), vectors([-1, 0]))
    assert math.isnan(noise.noise_tokens([noise.draw(1, truth, truth, truth)], nothing))
    assert math.isnan(noise.noise_tokens_by_task([noise.draw(1, truth, truth, truth)], nothing))
    assert math.isnan(noise.efficiency(1.0, 0.0))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = [1.0, 4.0, 2.0, 7.0]
    found = noise.jackknife(4, lambda seeds: sum(values[seed] for seed in seeds) / len(seeds))
    assert found.value == pytest.approx(3.5)
    assert found.error == pytest.approx(np.std(values, ddof=1) / 2)
    assert math.isnan(noise.jackknife(1, lambda _: 1.0).error)


def test_flat_samples_with_leave_one_out_are_unbiased_and_as_noisy_as_worked_out() -> None:
    world = World()
    known, draws = world.reference(), world.draws(FLAT, "rloo", 40, 3)
    assert noise.scale(draws, known) == pytest.approx(1, abs=0.1)
    # Each of 64 places: variance 1 / 4 of the reward, 1 / 60 of the baseline, over 16 leaves.
    noise_alone = 64 / 16 * (1 + 1 / 15) / 4
    assert noise.noise_tokens(draws, known) == pytest.approx(1024 * noise_alone / known.squared, rel=0.15)


@pytest.mark.parametrize(
    ("shape", "credit", "part", "expected"),
    [
        # No open token is shared: what counts is the price alone, 1024 tokens against 640 and 448.
        ("8 x 2 at 3/4", "rloo", "last quarter", 1024 / 640),
        ("4 x 4 at 3/4", "rloo", "last quarter", 1024 / 448),
        # A lone sibling that says nothing of a leaf is half of its baseline: variance 1 + 1 / 4.
        ("8 x 2 at 3/4", "ancestors", "last quarter", 1024 / 640 / 1.25),
        # All are shared, by leaves whose rewards correlate by 2 / pi asin(1/2) = 1/3, and few roots are few baselines.
        (
            "4 x 4 at 3/4",
            "ancestors",
            "first quarter",
            1024 / 448 * (16 / 15 / 16) / ((1 / 3 + 2 / 3 / 4) * (4 / 3) / 4),
        ),
        ("2 x 8 at 1/2", "rloo", "first quarter", 1024 / 576 * (16 / 15 / 16) / ((1 / 3 + 2 / 3 / 8) * 2 / 2)),
    ],
)
def test_what_a_shape_is_worth_is_its_independent_open_tokens_per_token(
    shape: str, credit: str, part: str, expected: float
) -> None:
    ((found, scale),) = efficiencies(World(OPEN[part]), [(SHAPE[shape], credit)], trees=25)
    assert found.value == pytest.approx(expected, rel=0.15)
    if credit == "ancestors":
        assert scale == pytest.approx(1, abs=0.15)

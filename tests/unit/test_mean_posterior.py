"""What rewards tell of their mean. Figures: by hand, from the update rule of the normal-inverse-gamma prior."""

import math
import statistics

import pytest

from treeroll.policies.branch.mean_posterior import MeanPosterior


def told(*rewards: float) -> MeanPosterior:
    posterior = MeanPosterior()
    for reward in rewards:
        posterior.tell(reward)
    return posterior


def test_before_any_reward_the_mean_is_as_the_prior_has_it() -> None:
    assert told().parameters() == pytest.approx((0.0, math.sqrt(0.1), 1.0))


def test_rewards_draw_the_centre_to_their_mean_and_narrow_the_scale() -> None:
    # One reward of 1: kappa 2, nu 2, tau^2 = (0.1 + 1/2) / 2.
    assert told(1).parameters() == pytest.approx((0.5, math.sqrt(0.3 / 2), 2.0))
    # 1, 0, 1: kappa 4, nu 4; squares around their mean 2/3, and 3/4 * (2/3)^2 for the distance to the prior's.
    assert told(1, 0, 1).parameters() == pytest.approx((0.5, math.sqrt((0.1 + 2 / 3 + 1 / 3) / 4 / 4), 4.0))


def test_draws_are_around_the_centre_and_depend_on_seed_and_key_only() -> None:
    posterior = told(1, 1, 0, 1, 1, 0, 1, 1)
    draws = [posterior.draw(3, "key", i) for i in range(4000)]
    assert statistics.median(draws) == pytest.approx(6 / 9, abs=0.02)
    assert posterior.draw(3, "key", 7) == draws[7]
    center, scale, _ = posterior.parameters()
    # Nine degrees of freedom: 90 % within 1.833 scales.
    assert sum(abs(draw - center) < 1.833 * scale for draw in draws) / 4000 == pytest.approx(0.9, abs=0.02)

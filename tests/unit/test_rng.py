"""Keyed draws."""

from collections import Counter

import pytest

from treeroll.tree.rng import gumbel, hash64, randint, shuffled, student_t, uniform


def test_a_draw_depends_on_its_seed_and_key_only() -> None:
    assert uniform(1, "a", 2) == uniform(1, "a", 2)
    assert uniform(1, "a", 2) != uniform(2, "a", 2) != uniform(1, "a", 3)


def test_parts_of_a_key_do_not_run_together() -> None:
    assert hash64("a", "bc") != hash64("ab", "c")
    assert hash64(1, 23) != hash64(12, 3)


def test_integers_cover_their_range_evenly() -> None:
    counts = Counter(randint(2, 5, 0, i) for i in range(4000))
    assert set(counts) == {2, 3, 4, 5}
    assert min(counts.values()) > 850


def test_the_largest_gumbel_picks_in_proportion_to_weight() -> None:
    wins = sum(gumbel(0, "x", i) + 1.0986 > gumbel(0, "y", i) for i in range(4000))  # log 3: three to one
    assert 0.72 < wins / 4000 < 0.78


def test_shuffling_keeps_every_item() -> None:
    assert sorted(shuffled(list(range(50)), 3, "k")) == list(range(50))
    assert shuffled(list(range(50)), 3, "k") != list(range(50))


# Quantiles of the tables: half of the draws of one degree of freedom are within 1, and so on.
@pytest.mark.parametrize(
    ("freedom", "within", "share"), [(1, 1.0, 0.5), (2, 1.886, 0.8), (5, 2.571, 0.95), (1e9, 1.0, 0.6827)]
)
def test_student_draws_have_the_tails_of_their_table(freedom: float, within: float, share: float) -> None:
    draws = [student_t(freedom, 4, "t", i) for i in range(8000)]
    assert sum(abs(draw) < within for draw in draws) / 8000 == pytest.approx(share, abs=0.02)
    assert sum(draw > 0 for draw in draws) / 8000 == pytest.approx(0.5, abs=0.02)

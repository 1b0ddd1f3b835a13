"""How many samples votes take, with pools written by hand."""

from treeroll.bench.claims.pets import pets, uniform

SURE = ["7"] * 8
SPLIT = ["1", "2", "2", "1", "2", "2", "2", "2"]


def test_the_same_number_for_each_goes_on_until_the_last_vote_is_right() -> None:
    assert uniform([SURE, SURE]) == 1
    # "1" after one sample, then a tie that the smaller wins, then "2" from the third on.
    assert uniform([SURE, SPLIT]) == 3


def test_pets_leaves_settled_questions_alone() -> None:
    pools = [SURE] * 6 + [SPLIT]
    assert 1 <= pets(pools, seed=1) < uniform(pools)


def test_questions_that_agree_at_once_take_one_sample_each() -> None:
    assert pets([SURE, SURE, SURE], seed=1) == 1

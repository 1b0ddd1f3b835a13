"""How many leaves settings make, and what is said of settings that make too many."""

import re
import shlex
from dataclasses import replace
from itertools import product
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.cli.preflight import fewer_leaves
from treeroll.config import RunConfig, apply_overrides, parse
from treeroll.errors import InvalidInput
from treeroll.policies.recipes import RECIPES
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.policy.width import LeafCount, within_leaves


def treerl(chains, places, rounds, forks):
    return LeafCount(
        "chains * (1 + places * rounds * forks)",
        lambda chains, places, rounds, forks: chains * (1 + places * rounds * forks),
        {"chains": chains, "places": places, "rounds": rounds, "forks": forks},
    )


def built(recipe, leaves, sets=()):
    overrides = apply_overrides({}, list(sets)).get("run", {})
    return build_policies(recipe, replace(RECIPES[recipe].limits, leaves=leaves), overrides).branch


def refused(recipe, leaves):
    try:
        built(recipe, leaves)
    except InvalidInput as error:
        return str(error)
    return None


@pytest.mark.parametrize("leaves", [4, 5, 6, 8, 12, 16, 24, 32])
@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_refusal_for_leaves_names_settings_that_fit(recipe, leaves):
    sentence = refused(recipe, leaves)
    if sentence is None:
        assert built(recipe, leaves).max_leaves <= leaves
        return
    made = re.search(r"makes (\d+)$", sentence)
    assert made, sentence
    sets = re.findall(r"--set (\S+=\S+)", sentence)
    branch = built(recipe, leaves, [shlex.split(one)[0] for one in sets])
    assert branch.max_leaves <= leaves
    if hasattr(branch, "leaf_count"):
        assert branch.max_leaves == branch.leaf_count.most == int(made[1])


def test_settings_that_fit_make_as_many_leaves_as_can_be_with_few_changes():
    assert treerl(6, 2, 1, 2).fitting(8) == {"chains": 4, "places": 1, "forks": 1}
    assert treerl(6, 2, 1, 2).fitting(15) == {"chains": 3}
    assert treerl(6, 2, 0, 2).fitting(4) == {"chains": 4}
    assert LeafCount("product of fanouts", prod, {"fanouts": (6, 6, 6)}).fitting(8) == {"fanouts": (2, 2, 2)}
    assert LeafCount("answers * max_width", lambda a, w: a * w, {"a": 16, "w": 4}, least={"w": 2}).fitting(1) is None


def test_the_sentence_is_one_that_can_be_pasted():
    with pytest.raises(InvalidInput) as error:
        within_leaves("treerl", treerl(6, 2, 1, 2), Limits(6, 1, 1, 1))
    assert str(error.value) == (
        "branch policy 'treerl': chains 6, places 2, rounds 1 and forks 2 can make 30 leaves, above leaves 6; raise "
        "leaves, or set what fits: --set run.branch.chains=2 --set run.branch.forks=1 makes 6"
    )
    with pytest.raises(InvalidInput, match=r"--set 'run\.branch\.fanouts=\[2,2,2\]' makes 8$"):
        within_leaves("spo", LeafCount("product of fanouts", prod, {"fanouts": (6, 6, 6)}), Limits(8, 1, 3, 1))


@given(st.tuples(*[st.integers(1, 6)] * 3), st.integers(1, 60))
def test_nothing_lower_makes_more_leaves(values, leaves):
    count = LeafCount("", lambda a, b, c: a * (1 + b * c), dict(zip("abc", values, strict=True)))
    every = [count.made(*lower) for lower in product(*(range(1, value + 1) for value in values))]
    best = max((made for made in every if made <= leaves), default=None)
    found = count.fitting(leaves)
    assert (None if found is None else count.made(*{**count.settings, **found}.values())) == best


@given(st.tuples(*[st.integers(1, 1024)] * 4), st.integers(1, 4096))
def test_large_settings_find_what_fits_too(values, leaves):
    count = treerl(*values)
    found = count.fitting(leaves)
    made = count.made(*{**count.settings, **(found or {})}.values())
    assert (found is None) == (leaves < 2)  # one answer and one more is the least there is
    assert found is None or made <= leaves


@pytest.mark.parametrize(
    ("recipe", "leaves", "sentence"),
    [
        (
            "tree_grpo",
            16,
            "chains 2, picks 2 and rounds 1 make 6 of the 16 leaves asked for; --set run.branch.picks=7 ",
        ),
        ("ib_tpo", 16, "make 12 of the 16 leaves asked for; --set run.branch.initial=8 makes 16"),
        (
            "spo",
            300,
            "fanouts 6,6,6 make 216 of the 300 leaves asked for; --set 'run.branch.fanouts=[8,6,6]' makes 288",
        ),
        ("spo", 250, "fanouts 6,6,6 make 216 of the 250 leaves asked for"),  # no larger list makes 250 at most
        ("treerl", 30, None),
        ("flat", 99, None),
    ],
)
def test_a_run_that_gets_fewer_leaves_than_it_asks_for_is_told(recipe, leaves, sentence):
    found = fewer_leaves(parse(RunConfig, {"recipe": recipe, "leaves": leaves}, "run"), built(recipe, leaves))
    assert found is None if sentence is None else sentence in found


@given(st.tuples(*[st.integers(1, 6)] * 3), st.integers(1, 200))
def test_one_larger_setting_makes_as_many_as_any_one_can(values, leaves):
    count = LeafCount("", lambda a, b, c: a * (1 + b * c), dict(zip("abc", values, strict=True)))
    every = [
        count.made(*values[:at], larger, *values[at + 1 :]) for at in range(3) for larger in range(values[at] + 1, 300)
    ]
    best = max((made for made in every if count.most < made <= leaves), default=None)
    found = count.raised(leaves)
    assert (None if found is None else count.made(*{**count.settings, **found}.values())) == best


def test_long_lists_find_what_fits_too():
    count = LeafCount("product of fanouts", prod, {"fanouts": (9,) * 20})
    assert count.fitting(2**20) == {"fanouts": (2,) * 20}

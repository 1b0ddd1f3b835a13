"""Policies that wait for entropies which cannot come are refused when a run is created."""

import math

import pytest

from treeroll.config import RunConfig
from treeroll.coordinator.specs import run_spec
from treeroll.errors import InvalidInput

VOCABULARY = 100  # ln: 4.61
CUT = {"recipe": "flat", "prune": {"name": "confidence"}}


def spec(**config):
    return run_spec("r", RunConfig(**config), VOCABULARY)


def refusal(**config):
    with pytest.raises(InvalidInput) as caught:
        spec(**config)
    return str(caught.value)


def test_entropies_that_nobody_estimates_are_refused():
    assert refusal(recipe="echo", top_logprobs=0) == (
        "branch policy 'echo' reads the entropies of tokens, but top_logprobs is 0, so there are none; "
        "set top_logprobs to 1 or more"
    )
    assert refusal(**CUT).startswith("prune policy 'confidence' reads the entropies of tokens, but top_logprobs is 0")


@pytest.mark.parametrize("recipe", ["arpo", "aepo"])
def test_chances_to_branch_by_entropy_are_refused_without_any(recipe):
    assert refusal(recipe=recipe, top_logprobs=0).startswith(
        f"branch policy '{recipe}' reads the entropies of tokens, but top_logprobs"
    )
    assert spec(recipe=recipe, top_logprobs=1).branch.needs.entropy == 0


@pytest.mark.parametrize(("recipe", "candidates"), [("arpo", 10), ("flat", 0)])
def test_a_recipe_asks_for_the_candidates_that_its_entropies_need(recipe, candidates):
    assert spec(recipe=recipe).sampling.top_logprobs == candidates
    assert f'"top_logprobs": {candidates}' in spec(recipe=recipe).config_json
    assert spec(recipe=recipe, top_logprobs=3).sampling.top_logprobs == 3


def test_thresholds_of_confidence_alone_need_no_entropies():
    assert spec(recipe="flat", prune={"name": "confidence", "spike": None}).reads_tokens
    assert not spec(recipe="flat").reads_tokens


def test_an_entropy_above_that_of_a_fair_draw_from_the_vocabulary_is_refused():
    most = math.log(VOCABULARY)
    assert refusal(recipe="echo", top_logprobs=10, branch={"entropy": most + 0.01}) == (
        "branch policy 'echo' waits for an entropy of 4.61517 nats, but no token of a model whose vocabulary is 100 "
        "has more than 4.61; lower its thresholds"
    )
    assert "waits for an entropy of 5 nats" in refusal(recipe="echo", top_logprobs=10, branch={"entropy_rise": 5})
    assert "prune policy 'confidence' waits" in refusal(
        recipe="flat", top_logprobs=1, prune={**CUT["prune"], "spike": 5}
    )


def test_an_entropy_above_that_of_the_candidates_is_not_since_the_estimate_counts_what_they_leave():
    assert spec(recipe="echo", top_logprobs=10).branch.needs.entropy == 3.5 > math.log(10)

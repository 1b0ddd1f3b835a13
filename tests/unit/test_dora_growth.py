"""DORA's shares: directions count, not copies."""

import pytest
from tests.support.grow import Driver, Outcome, leaf

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.base import Limits
from treeroll.policies.branch.dora import uniqueness
from treeroll.policies.branch.rebase import BySoftmax

COPY, OTHER = "first double the number, then take one away", "guess and check small primes until it fits"


class Places:
    """A vector of one's own for each text."""

    name = summary = "places"

    def __init__(self, vectors):
        self.vectors = vectors

    def embed(self, text):
        return self.vectors[text]


def build(leaves=16, **params):
    return registry.build("branch", "dora", params, Limits(leaves, 10, 3, 1000))


def shares(texts, leaves, logprobs=None, **params):
    """Paths that the first segments become."""

    def world(path):
        if len(path) > 1 or path[0] >= len(texts):
            return leaf(text="")
        return Outcome(text=texts[path[0]], logprob_sum=-1.0 if logprobs is None else logprobs[path[0]])

    grown = Driver(build(leaves, **params), world, hold=True).run()
    decided = {step.node: step.forks + 1 for step in grown.batches[leaves + 1]}
    return [decided.get(number, 0) for number in range(1, len(texts) + 1)]


def test_the_paper_s_worked_check():
    # Four candidates of equal score, three of them near copies: 1/6, 1/6, 1/2, 1/6.
    near = Places({"a": {0: 1.0}, "b": {0: 1.0, 1: 1e-4}, "c": {2: 1.0}, "d": {0: 1.0, 1: -1e-4}})
    gammas = uniqueness(["a", "b", "c", "d"], near, 0.01)
    assert gammas == pytest.approx([1 / 3, 1 / 3, 1, 1 / 3], abs=1e-4)
    assert [gamma / sum(gammas) for gamma in gammas] == pytest.approx([1 / 6, 1 / 6, 1 / 2, 1 / 6], abs=1e-4)
    # Of four paths: 2/3, 2/3, 2 and 2/3, the remainders to the first in path order.
    assert shares([COPY, COPY, OTHER, COPY], 4) == [1, 1, 2, 0]


@pytest.mark.parametrize("copies", [1, 2, 5, 11])
def test_copies_do_not_raise_the_share_of_a_direction(copies):
    texts = [*[COPY] * copies, OTHER]
    found = shares(texts, copies + 1)
    assert abs(sum(found[:copies]) - found[copies]) <= 1
    assert sum(found) == copies + 1


def test_near_is_what_the_temperature_says():
    near = Places({"a": {0: 1.0}, "b": {0: 0.95, 1: (1 - 0.95**2) ** 0.5}})
    # A cosine of 0.95 at 0.01 is a factor of e^5.
    assert uniqueness(["a", "b"], near, 0.01) == pytest.approx([1 / (1 + 2.718281828**-5)] * 2)
    assert uniqueness(["a", "b"], near, 10.0) == pytest.approx([0.50125] * 2, abs=1e-5)


def test_without_an_embedder_it_is_rebase_and_reads_no_text():
    policy = build(embedder=None, temperature=0.2)
    assert not policy.reads_text
    assert build().reads_text
    found = shares([COPY, COPY, OTHER], 3, [-1.0, -2.0, -9.0], embedder=None, temperature=0.2)
    confident = [2.718281828 ** (logprob / 10) for logprob in (-1.0, -2.0, -9.0)]
    assert found == BySoftmax(0.2).shares(None, [], confident, 3)


def test_an_unknown_embedder_is_refused():
    with pytest.raises(InvalidInput, match=r"unknown embedder 'bge'; choose one of ngrams"):
        build(embedder="bge")

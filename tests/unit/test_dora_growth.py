"""DORA's shares: directions count, not copies."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.grow import Driver, Outcome, goes_on, leaf

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.branch import dora
from treeroll.policies.branch.dora import uniqueness
from treeroll.policies.branch.rebase import BySoftmax
from treeroll.policy.base import Limits
from treeroll.similarity.embedder import cosine
from treeroll.similarity.ngrams import HashedNgrams
from treeroll.tree.node import NodeStatus

COPY, OTHER = "first double the number, then take one away", "guess and check small primes until it fits"


def build(leaves=16, **params):
    return registry.build("branch", "dora", params, Limits(leaves, 10, 3, 1000))


def shares(texts, leaves, logprobs=None, **params):
    """Paths that the first segments become."""

    def world(path):
        if len(path) > 1 or path[0] >= len(texts):
            return leaf(text="")
        return Outcome(text=texts[path[0]], logprob_sum=-1.0 if logprobs is None else logprobs[path[0]])

    grown = Driver(build(leaves, **params), world, hold=True).run()
    decided = {step.node: step.forks + 1 for step in goes_on(grown.batches[leaves + 1])}
    return [decided.get(number, 0) for number in range(1, len(texts) + 1)]


def test_the_paper_s_worked_check():
    # Four candidates of equal score, three of them near copies: 1/6, 1/6, 1/2, 1/6.
    same, far = 2**5000 - 1, 2**10000 - 2**5000
    gammas = uniqueness([same, same ^ 1, far, same ^ 2], 0.01)
    assert gammas == pytest.approx([1 / 3, 1 / 3, 1, 1 / 3], rel=0.02)
    assert [gamma / sum(gammas) for gamma in gammas] == pytest.approx([1 / 6, 1 / 6, 1 / 2, 1 / 6], rel=0.02)
    # Of four paths: 2/3, 2/3, 2 and 2/3, the remainders to the first in path order.
    assert shares([COPY, COPY, OTHER, COPY], 4) == [1, 1, 2, 0]


@pytest.mark.parametrize("copies", [1, 2, 5, 11])
def test_copies_do_not_raise_the_share_of_a_direction(copies):
    texts = [*[COPY] * copies, OTHER]
    found = shares(texts, copies + 1)
    assert abs(sum(found[:copies]) - found[copies]) <= 1
    assert sum(found) == copies + 1


def test_near_is_what_the_temperature_says():
    # A cosine of 0.95 at 0.01 is a factor of e^5.
    one, other = 2**20 - 1, 2**21 - 2
    assert uniqueness([one, other], 0.01) == pytest.approx([1 / (1 + 2.718281828**-5)] * 2)
    assert uniqueness([one, other], 10.0) == pytest.approx([0.50125] * 2, abs=1e-5)


@given(st.lists(st.integers(1, 255), min_size=1, max_size=12), st.sampled_from([0.01, 0.1, 5.0]))
def test_uniqueness_is_the_paper_s_row_softmax(paths, temperature):
    similar = [[math.exp(cosine(one, other) / temperature) for other in paths] for one in paths]
    assert uniqueness(paths, temperature) == pytest.approx([row[i] / sum(row) for i, row in enumerate(similar)])


@pytest.mark.parametrize("params", [{}, {"quorum": 0.5}])
@pytest.mark.parametrize("pick", [lambda n: 0, lambda n: n - 1, lambda n: n // 2])
def test_paths_are_compared_as_wholes_and_each_text_is_read_once(monkeypatch, params, pick):
    read, compared = [], []

    def embed(self, text):
        read.append(text)
        return 1 << int(text)

    def compare(paths, temperature):
        compared.append(paths)
        return uniqueness(paths, temperature)

    monkeypatch.setattr(HashedNgrams, "embed", embed)
    monkeypatch.setattr(dora, "uniqueness", compare)

    def world(path):
        return leaf() if len(path) == 4 else Outcome(text=str(len(read)))

    tree = Driver(build(6, **params), world, pick, hold=True).run().tree
    inner = [node.number for node in tree.nodes[1:] if node.status is NodeStatus.INNER]
    wholes = [sum(1 << int(part.text) for part in tree.lineage(number)) for number in inner]
    assert sorted(path for paths in compared for path in paths) == sorted(wholes)
    assert params or len(read) == len(inner)


def test_without_an_embedder_it_is_rebase_and_reads_no_text():
    policy = build(embedder=None, temperature=0.2)
    assert not policy.needs.text
    assert build().needs.text
    found = shares([COPY, COPY, OTHER], 3, [-1.0, -2.0, -9.0], embedder=None, temperature=0.2)
    confident = [2.718281828 ** (logprob / 10) for logprob in (-1.0, -2.0, -9.0)]
    assert found == BySoftmax(0.2).shares(None, [], confident, 3)


def test_an_unknown_embedder_is_refused():
    with pytest.raises(InvalidInput, match=r"unknown embedder 'bge'; choose one of ngrams"):
        build(embedder="bge")

"""What tokens weigh, on random batches and trees: it agrees with its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_credit import trees
from tests.support import token_weights_by_definition as definition
from tests.support.delivered import delivered, token_ids
from tests.support.trees import PROMPT

from treeroll.client import ClipRange, TokenFactor, TokenSchedule, edge_samples
from treeroll.client.clipping import clip_ranges
from treeroll.client.factors import token_factors
from treeroll.client.schedule import scheduled

# Estimators that give a node one credit, whatever leaf it is seen from.
BY_NODE = ["spo", "segpo", "treerl", "treerpo", "treeps_mc", "ib_tpo", "tree_seg", "deepsearch", "rest_mcts"]

weights = st.sampled_from([0.0, 0.5, 1.0, 3.0])
shares = st.floats(0, 1, width=32)
windows = st.tuples(shares, shares).map(lambda ends: tuple(sorted(ends))).filter(lambda ends: ends[0] < ends[1])


@settings(max_examples=300)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 12)),
    strength=st.sampled_from([0.1, 1.0]),
    parts=st.tuples(weights, weights).filter(any),
    clamp=st.sampled_from([0.5, 2.0, float("inf")]),
)
def test_factors(seed, shape, strength, parts, clamp):
    chance = np.random.default_rng(seed)
    entropies = chance.exponential(0.5, shape).astype(np.float32)
    logprobs = -chance.exponential(0.7, shape).astype(np.float32)
    mask = chance.integers(0, 2, shape)
    found = token_factors(TokenFactor(strength, *parts, clamp), entropies, logprobs, mask)
    expected = definition.factors(entropies.tolist(), logprobs.tolist(), mask.tolist(), strength, *parts, clamp)
    assert found == pytest.approx(np.array(expected), rel=1e-4, abs=1e-4)


@settings(max_examples=300)
@given(tokens=st.integers(1, 40), progress=shares, start=windows, end=windows, outside=st.floats(0, 0.99))
def test_schedules(tokens, progress, start, end, outside):
    found = scheduled(tokens, progress, TokenSchedule(start, end, outside))
    expected = definition.schedule(tokens, progress, start, end, outside)
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


@settings(max_examples=50)
@given(tree=trees, tail=st.integers(1, 30), slope=st.floats(0, 20))
def test_clip_ranges(tree, tail, slope):
    samples = delivered(tree, "spo").samples
    expected = [definition.clip_range(sample.logprobs.tolist(), 0.1, 0.3, slope, tail) for sample in samples]
    if samples:
        assert clip_ranges(samples, ClipRange(0.1, 0.3, slope, tail)).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", BY_NODE)
@settings(max_examples=60)
@given(tree=trees)
def test_edges(name, tree):
    record = delivered(tree, name)
    paths = {sample.completion_ids[-1]: sample for sample in record.samples}
    expected = {}
    for run in definition.edges(tree).values():
        leaf = next(
            path for path in tree.paths.values() if path[: len(run[-1])] == run[-1] and path[-1] in tree.rewards
        )
        before = [*PROMPT, *(each for number in run[0][:-1] for each in token_ids(number, tree.n_tokens[number]))]
        own = [each for node in run for each in token_ids(node[-1], tree.n_tokens[node[-1]])]
        path = paths[token_ids(leaf[-1], tree.n_tokens[leaf[-1]])[-1]]
        start = len(before) - len(PROMPT)
        advantages = path.advantages[start : start + len(own)].tolist()
        if any(advantages):
            expected[tuple(before), tuple(own)] = advantages
    found = edge_samples(record)
    assert [(edge.index, edge.group_size) for edge in found] == [(at, len(expected)) for at in range(len(expected))]
    assert {
        (tuple(edge.prompt_ids.tolist()), tuple(edge.completion_ids.tolist())): edge.advantages.tolist()
        for edge in found
    } == expected

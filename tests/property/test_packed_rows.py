"""Packed rows of random trees: every token once, seen and summed as its samples say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.packing import kept_of, random_samples, unique_tokens

from treeroll.client import TokenSchedule
from treeroll.client.packed import PackedRow, packed
from treeroll.client.training import temperatures, trained
from treeroll.errors import InvalidInput

options = st.sampled_from(
    [
        {},
        {"mask_unscored": False},
        {"shared_prefixes": "once"},
        {"weigh": "samples", "whiten": True},
        {"weigh": "trees", "max_prob": 0.02},
        {"schedule": TokenSchedule((0, 0.25)), "progress": 0.5},
    ]
)


def path_of(row: PackedRow, number: int) -> np.ndarray:
    """Places of a sample's tokens in the row."""
    own = row.sample_segments[row.sample_offsets[number] : row.sample_offsets[number + 1]]
    return np.concatenate([np.arange(row.segment_start[each], row.segment_start[each + 1]) for each in own])


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    trees=st.integers(1, 4),
    options=options,
    room=st.integers(0, 30),
    per_row=st.integers(1, 3),
)
@pytest.mark.parametrize("split", [False, True])
def test_rows_hold_their_samples(seed, trees, options, room, per_row, split):
    samples = random_samples(seed, trees)
    try:
        kept = kept_of(samples, options)
    except InvalidInput:
        with pytest.raises(InvalidInput, match="is trained on"):
            packed(samples, training=options)
        return
    longest = max(len(sample.prompt_ids) + len(sample.completion_ids) for sample in kept.values())
    max_tokens = longest + room if split else None
    rows = packed(samples, max_tokens, per_row, options)
    assert [int(place) for row in rows for place in row.sample_index] == list(kept)
    if split:
        assert max(map(len, rows)) <= max_tokens
    else:
        assert sum(map(len, rows)) == unique_tokens(list(kept.values()))
        assert len(rows) == -(-len({sample.tree_id for sample in kept.values()}) // per_row)
    by_definition = trained(samples, options)
    numbers = {id(sample): number for number, sample in enumerate(by_definition.samples)}
    for row in rows:
        check_row(row, [samples[place] for place in row.sample_index], by_definition, numbers)


def check_row(row, samples, by_definition, numbers):
    seen = np.zeros((len(row), len(row)), bool)
    count, weights, positive, negative = (np.zeros(len(row)) for _ in range(4))
    for number, sample in enumerate(samples):
        path, prompt = path_of(row, number), len(sample.prompt_ids)
        made, own = path[prompt:], numbers[id(sample)]
        length = len(made)
        assert row.input_ids[path].tolist() == [*sample.prompt_ids, *sample.completion_ids]
        assert row.position_ids[path].tolist() == list(range(len(path)))
        assert row.predictor[path].tolist() == [-1, *path[:-1]]
        assert row.sampling_per_token_logps[path].tolist() == [0] * prompt + sample.logprobs.tolist()
        assert row.temperature[path].tolist() == [1] * prompt + temperatures(sample).tolist()
        seen[path[:, None], path[None, :]] |= path[None, :] <= path[:, None]
        mask = by_definition.loss_mask[own, :length]
        weight = by_definition.loss_weights[own, :length].astype(float) * mask
        terms = weight * by_definition.advantages[own, :length]
        count[made] += mask
        weights[made] += weight
        positive[made] += terms * (terms > 0)
        negative[made] += terms * (terms < 0)
    assert (row.dense_mask() == seen).all()
    assert row.count.tolist() == count.tolist()
    for found, expected in ((row.loss_weights, weights), (row.adv_pos, positive), (row.adv_neg, negative)):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-7)
    for start, end, path in row.segments():
        assert path.tolist() == np.flatnonzero(seen[end - 1]).tolist()
        assert (row.tin[start:end] == row.tin[start]).all()
    assert sum(end - start for start, end, _ in row.segments()) == len(row)
    assert (np.diff(row.tin) >= 0).all()


def test_a_split_tree_has_every_samples_terms_once():
    samples = random_samples(7, 1, nodes=20)
    whole, parts = packed(samples), packed(samples, max_tokens=40)
    assert len(parts) > 1
    assert sum(map(len, parts)) > len(whole[0])
    for column in ("count", "adv_pos", "adv_neg"):
        assert sum(getattr(row, column).sum() for row in parts) == getattr(whole[0], column).sum()

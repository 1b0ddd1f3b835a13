"""TEMPO's credit, against values worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.support.trees import sample_tree

from treeroll.client.packed import packed
from treeroll.client.records import Sample, samples_of
from treeroll.client.selection import LeafSelection
from treeroll.client.tempo import tempo
from treeroll.client.tensors import padded


def flat(completions: list[list[int]], rewards: list[float | None], tree_id: str = "t0") -> list[Sample]:
    """Samples of one prompt that share no node, as `flat` grows them."""
    first = samples_of(sample_tree(tree_id))[0]
    return [
        replace(
            first,
            sample_id=f"{tree_id}:{number}",
            index=number,
            completion_ids=np.array(tokens, np.int32),
            model_mask=np.ones(len(tokens), np.int32),
            logprobs=np.full(len(tokens), -1.0, np.float32),
            temperatures=np.ones(len(tokens), np.float32),
            loss_weights=np.ones(len(tokens), np.float32),
            entropies=np.zeros(0, np.float32),
            path_node_ids=[f"{tree_id}:{number}"],
            path_offsets=np.zeros(1, np.int32),
            reward=reward,
            reward_status="missing" if reward is None else "ok",
            advantages=None if reward is None else np.full(len(tokens), 9.0, np.float32),
        )
        for number, (tokens, reward) in enumerate(zip(completions, rewards, strict=True))
    ]


FOUR = flat([[1, 2, 3], [1, 2, 4], [1, 5, 6], [7, 8]], [1.0, 0.0, 1.0, 0.0])


def test_credit_is_grpos_and_the_change_of_value_where_samples_part() -> None:
    # mean 1/2, std sqrt(1/3). V: prompt 1/2; "1" 2/3; "1 2" 1/2; then each its reward.
    deviation = math.sqrt(1 / 3) + 1e-6
    expected = [
        [0.5 + (2 / 3 - 1 / 2), 0.5 + (1 / 2 - 2 / 3), 0.5 + (1 - 1 / 2)],
        [-0.5 + (2 / 3 - 1 / 2), -0.5 + (1 / 2 - 2 / 3), -0.5 + (0 - 1 / 2)],
        [0.5 + (2 / 3 - 1 / 2), 0.5 + (1 - 2 / 3), 0.5],
        [-0.5 + (0 - 1 / 2), -0.5],
    ]
    for found, values in zip(tempo(FOUR), expected, strict=True):
        assert found.dtype == np.float32
        assert found.tolist() == pytest.approx([value / deviation for value in values], rel=1e-5)


def test_a_sample_that_another_one_goes_on_from_ends_with_their_value() -> None:
    first, second = tempo(flat([[1, 2], [1, 2, 3]], [1.0, 0.0]))
    deviation = math.sqrt(1 / 2) + 1e-6
    assert first.tolist() == pytest.approx([0.5 / deviation] * 2)
    assert second.tolist() == pytest.approx([-0.5 / deviation, -0.5 / deviation, -1.0 / deviation])


def test_unscored_samples_take_no_part_and_trees_are_apart() -> None:
    alone = tempo(FOUR)
    more = FOUR + flat([[1, 2, 3]], [None]) + flat([[1, 2, 3], [1, 2, 9]], [0.0, 1.0], "t1")
    found = tempo(more)
    assert [each.tolist() for each in found[:4]] == [each.tolist() for each in alone]
    assert found[4].tolist() == [0.0] * 3
    assert found[5].tolist() == pytest.approx((-found[6]).tolist())


@pytest.mark.parametrize("rewards", [[0.1] * 4, [0.1, None, None, None]])
def test_without_contrast_credit_is_exactly_zero(rewards: list[float | None]) -> None:
    found = tempo(flat([[1, 2, 3], [1, 2, 4], [1, 5, 6], [7, 8]], rewards))
    assert not any(each.any() for each in found)


def test_it_is_an_option_of_what_to_train_on() -> None:
    arrays = padded(FOUR, credit="tempo")
    assert arrays["advantages"][0].tolist() == pytest.approx(tempo(FOUR)[0].tolist())
    selected = padded(FOUR, credit="tempo", select=LeafSelection(1))
    place = [sample.completion_ids.tolist() for sample in FOUR].index(selected["completion_ids"][0].tolist())
    assert selected["advantages"][0].tolist() == pytest.approx(tempo(FOUR)[place].tolist())
    (row,) = packed(FOUR, training={"credit": "tempo"})
    assert row.adv_pos.sum() + row.adv_neg.sum() == pytest.approx(sum(each.sum() for each in tempo(FOUR)), abs=1e-5)

"""Which part of a trajectory weighs when."""

from typing import Any

import numpy as np
import pytest
from tests.support.trees import sample_tree

from treeroll.client import TokenSchedule
from treeroll.client.records import samples_of
from treeroll.client.schedule import scheduled
from treeroll.client.tensors import padded
from treeroll.errors import InvalidInput

EARLY = TokenSchedule((0, 0.5))


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        (EARLY, 0.0, [1, 1, 0, 0]),
        (EARLY, 0.5, [1, 1, 1, 0]),
        (EARLY, 0.25, [1, 1, 0.5, 0]),
        (EARLY, 1.0, [1, 1, 1, 1]),
        (TokenSchedule((0.75, 1)), 0.0, [0, 0, 0, 1]),
        (TokenSchedule((0.75, 1)), 1.0, [1, 1, 1, 1]),
        (TokenSchedule((0, 0.25), (0.75, 1)), 0.5, [0, 0.5, 0.5, 0]),
        (TokenSchedule((0, 0.25), (0.75, 1)), 1.0, [0, 0, 0, 1]),
        (TokenSchedule((0, 0.5), outside=0.2), 0.0, [1, 1, 0.2, 0.2]),
    ],
)
def test_the_window_moves_with_progress(schedule: TokenSchedule, progress: float, expected: list[float]) -> None:
    found = scheduled(4, progress, schedule)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("tokens", [1, 2, 3, 7, 1000])
def test_a_window_holds_the_same_share_of_every_completion(tokens: int) -> None:
    assert scheduled(tokens, 0.0, TokenSchedule((0.3, 0.4))).sum() == pytest.approx(0.1 * tokens, rel=1e-4)


def test_it_multiplies_the_loss_weights_of_a_batch() -> None:
    samples = samples_of(sample_tree())
    weights = padded(samples, schedule=TokenSchedule((0, 0.6)), progress=0.0)["loss_weights"]
    assert weights.tolist() == [pytest.approx([1, 1, 1, 0, 0]), pytest.approx([1, 0.8, 0, 0, 0])]
    once = padded(samples, schedule=TokenSchedule((0, 0.6)), progress=0.0, shared_prefixes="once", mask_unscored=False)
    assert once["loss_weights"][0].tolist() == pytest.approx([0.5, 0.5, 1, 0, 0])
    assert once["loss_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    whole = padded(samples, schedule=TokenSchedule((0, 0.6)), progress=1.0)
    assert whole["loss_weights"].tolist() == padded(samples)["loss_weights"].tolist()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"schedule": EARLY}, "schedule and progress go together"),
        ({"progress": 0.5}, "schedule and progress go together"),
        ({"schedule": EARLY, "progress": 1.5}, "progress must be 0 to 1, the share of training that is done, got 1.5"),
        ({"schedule": EARLY, "progress": float("nan")}, "progress must be 0 to 1"),
    ],
)
def test_a_schedule_needs_the_progress_of_training(options: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        padded(samples_of(sample_tree()), **options)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"start": (0.5, 0.5)}, "start must be two shares of a completion, 0 <= from < to <= 1, got 0.5, 0.5"),
        ({"start": (0, 1), "end": (0.5, 1.5)}, "end must be two shares of a completion"),
        ({"start": (float("nan"), 1)}, "start must be two shares of a completion"),
        ({"start": (0, 1), "outside": 1}, "outside must be 0 or more and below 1, got 1"),
    ],
)
def test_windows_that_cannot_be_meant_are_refused(values: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        TokenSchedule(**values)

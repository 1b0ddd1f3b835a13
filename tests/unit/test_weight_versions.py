"""Which weights made the tokens of a request, whatever deltas it comes in."""

from collections.abc import Iterable
from itertools import pairwise

import pytest

from treeroll.generator.engine import VersionSpan
from treeroll.generator.weight_versions import WeightVersions


def labels(spans: Iterable[VersionSpan]) -> list[tuple[int, bool]]:
    """Of each token."""
    return [(span.version, span.kv_mixed) for span in spans for _ in range(span.tokens)]


@pytest.mark.parametrize("ends", [[20], [3, 5, 6, 12, 20], range(1, 21), [12, 20], [5, 20]])
def test_spans_are_cut_where_versions_start(ends: Iterable[int]) -> None:
    versions = WeightVersions(lambda: None)
    starts = [(1, 0), (2, 5), (3, 12)]
    spans = [span for a, b in pairwise([0, *ends]) for span in versions.spans(starts, a, b, began=1)]
    assert labels(spans) == [(1, False)] * 5 + [(2, True)] * 7 + [(3, True)] * 8


def test_tokens_that_the_engine_gives_no_version_have_none() -> None:
    assert WeightVersions(lambda: None).spans([], 0, 5, began=1) == []

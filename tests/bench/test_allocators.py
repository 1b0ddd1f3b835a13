"""`treeroll bench allocators` times every allocator on the same tasks."""

import pytest

from treeroll.bench.allocators import LIMITS, made, measure, share
from treeroll.errors import InvalidInput
from treeroll.policies import registry

NAMES = [policy.name for policy in registry.POLICIES["allocate"]]


@pytest.mark.parametrize("name", NAMES)
def test_every_allocator_answers_for_every_task(name: str) -> None:
    allocator = registry.build("allocate", name, {}, LIMITS)
    found = share(allocator, made(30, 1), 1)
    assert found["calls"] == (1 if allocator.asked == "submission" else 30)
    assert allocator.least * 30 <= found["leaves"] <= allocator.most * 30
    assert found["share_ms"] > 0
    assert found["learn_us"] > 0


def test_tasks_are_the_same_for_a_round_whatever_is_measured() -> None:
    assert made(5, 1) == made(5, 1) != made(5, 2)


async def test_an_allocator_that_does_not_exist_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidInput, match="there is no allocate policy 'knapsak'"):
        await measure(["uniform", "knapsak"], 5, 1, lambda line: None)

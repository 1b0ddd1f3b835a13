"""A real service among hostile clients and replicas goes on, and says what was wrong with what they sent."""

from collections.abc import AsyncIterator

import pytest

from treeroll.chaos.flood import FLOODS, flood
from treeroll.chaos.fuzz import fuzz
from treeroll.chaos.hostile_messages import client_call, replica_message
from treeroll.chaos.siege import Siege

MESSAGES = 200
SEED = 3


@pytest.fixture
async def siege() -> AsyncIterator[Siege]:
    async with Siege() as siege:
        yield siege


async def test_fuzzed_messages_of_both_sides_end_nothing_and_floods_of_connections_pass(siege: Siege) -> None:
    for side in ("client", "replica"):
        outcome = await fuzz(siege, side, SEED, 0, MESSAGES, print)
        assert not outcome.findings
        assert outcome.messages >= MESSAGES
        assert len(outcome.ends) > 2
    for name in FLOODS:
        found = await flood(siege, name, count=60, rounds=1, seconds=0.1)
        assert found.opened[0] > 0, name
    assert not (await siege.client.audit()).violations
    assert not siege.complaints()


def test_a_message_is_made_from_the_seed_and_its_number_alone() -> None:
    made = [(client_call(SEED, number), replica_message(SEED, number)) for number in range(200)]
    assert made == [(client_call(SEED, number), replica_message(SEED, number)) for number in range(200)]
    assert len({client[1] for client, _ in made}) > 100
    assert client_call(SEED + 1, 0) != client_call(SEED, 0)

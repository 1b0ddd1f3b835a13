"""Chaos in small: real processes, real faults, and every token as in a run to which nothing happened."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.command import Command

from treeroll.chaos import kills
from treeroll.chaos.faults import Strike
from treeroll.chaos.kills import NOWHERE, Killer, Life
from treeroll.chaos.ordeal import Ordeal, Outcome
from treeroll.chaos.world import Size, World
from treeroll.failpoints import NAMES

pytestmark = [pytest.mark.slow]
# What a busy service has been told before its Redis is gone it counts within this.
SETTLES_S = 5.0
IN_ONE_WORLD = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    world = World(Size())
    async with world:
        yield world
    assert world.left_behind == []


@pytest.fixture(scope="module")
def ordeal(world: World) -> Ordeal:
    return Ordeal(world, 1, print)


async def under(ordeal: Ordeal, *names: str, lasts_s: float) -> Outcome:
    outcome = await ordeal.perform([Strike(names, 0.0, lasts_s)])
    assert outcome.findings == []
    assert outcome.failed == 0
    return outcome


@IN_ONE_WORLD
async def test_a_redis_that_is_away_for_15_s_is_a_pause_in_which_nothing_is_granted_again(ordeal: Ordeal) -> None:
    outcome = await under(ordeal, "redis-killed", lasts_s=15.0)
    assert (outcome.regrants, outcome.lives) == (0, 0)
    [struck] = outcome.struck
    during = [sample.spent for sample in outcome.samples if struck.began_s + SETTLES_S < sample.at_s < struck.ends_s]
    assert during, "the service answers during an outage"
    assert min(during) == max(during) < outcome.samples[-1].spent


@IN_ONE_WORLD
async def test_a_coordinator_that_is_killed_and_started_again_costs_no_task_and_no_engine(ordeal: Ordeal) -> None:
    outcome = await under(ordeal, "kill-coordinator", lasts_s=1.0)
    assert outcome.lives == 0
    [struck] = outcome.struck
    before = [sample.spent for sample in outcome.samples if sample.at_s < struck.began_s]
    assert 0 < before[-1] < outcome.samples[-1].spent


@IN_ONE_WORLD
async def test_a_coordinator_that_dies_at_every_failpoint_loses_nothing_whoever_goes_on(
    world: World, ordeal: Ordeal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kills, "LONGEST_LIFE_S", 150.0)  # each is to end where it is told to, on a busy machine, too
    lives = [Life(name, 8 if name.startswith(("commit", "perform")) else 1) for name in NAMES]
    lives[-2] = replace(lives[-2], takes_over=True)
    killer = Killer(world, ordeal, print)
    outcome = await killer.perform(lives)
    assert outcome.findings == []
    assert (outcome.failed, outcome.lives) == (0, 0)
    assert outcome.decoded == outcome.spent > 0  # replicas lived: no token was decoded twice, or for nothing
    assert [death.failpoint for death in killer.deaths] == [NOWHERE, *NAMES]
    assert killer.deaths[-1].recovered_s is not None


@IN_ONE_WORLD
async def test_a_replica_that_fails_every_request_costs_no_task_and_no_engine(ordeal: Ordeal) -> None:
    outcome = await under(ordeal, "failing-replica", lasts_s=8.0)
    assert outcome.regrants > 0
    assert outcome.lives == 0


def test_a_command_that_is_interrupted_leaves_no_process(tmp_path: Path) -> None:
    with Command(["--faults", "reset-replica"], tmp_path / "log", module="treeroll.cli.chaos") as command:
        command.until(lambda: "reset-replica for" in command.output())
        command.interrupt()
        assert command.wait() == 130, command.output()
        command.assert_gone()

"""Whole services in virtual time, under all faults: every promise is kept, and one seed decides everything."""

import logging
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from unittest.mock import Mock

import pytest

from treeroll import lives
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.core.model.weights import OnUpdate
from treeroll.generator.sequence import Sequences
from treeroll.simulation.universe import command
from treeroll.simulation.universe.command import main
from treeroll.simulation.universe.faults import Faults
from treeroll.simulation.universe.search import Case, Outcome, case_of, simulate
from treeroll.simulation.universe.universe import Universe
from treeroll.simulation.universe.virtual_server import VirtualServer
from treeroll.simulation.universe.work import CLIENTS, OF_BOTH, Work

SEEDS = range(1_000_000, 1_000_060)  # scripts/simulate begins at 0
PART = 10


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Coordinators warn of every fault."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def told(outcome: Outcome) -> str:
    return f"scripts/simulate --seed {outcome.case.seed}: {outcome.broken[0]}" if outcome.broken else ""


@pytest.mark.parametrize("first", SEEDS[::PART])
def test_every_promise_is_kept(first: int) -> None:
    broken = [told(simulate(case_of(seed))) for seed in range(first, first + PART)]
    assert not any(broken), "\n".join(filter(None, broken))


def test_a_world_without_faults_has_nothing_to_recover_from() -> None:
    outcome = simulate(Case(1, Faults()))
    assert not outcome.broken
    assert outcome.lives == 1


def test_all_kinds_of_faults_happen() -> None:
    kinds = {kind for seed in SEEDS for kind in case_of(seed).faults.kinds}
    assert kinds == {part.name for part in fields(Faults)} - {"crash_every"}


def test_all_kinds_of_settings_are_there() -> None:
    works = [case_of(seed).work for seed in range(SEEDS.start, SEEDS.start + 500)]
    settings = {key for work in works for key in work.settings}
    assert settings >= {
        "budget",
        "ahead",
        "window",
        "drop",
        "min_scored",
        "allocate",
        "max_staleness",
        "model",
        "route",
    }
    assert {work.settings["on_update"] for work in works if work.versions and work.pools} == set(OnUpdate)
    assert {work.settings["when_stale"] for work in works if "max_staleness" in work.settings} == {"withhold", "mark"}
    assert {recipe for recipe, *_ in OF_BOTH} <= {work.recipe for work in works if work.pools}
    assert all(any(getattr(work, client) for work in works) for client in CLIENTS)


DEADLY = {
    "treepo": Work("treepo", leaves=3, max_depth=2, tasks=2),
    "deepsearch": Work(
        "deepsearch", leaves=6, max_depth=2, tasks=2, overrides={"branch": {"width": 2, "terminals": 3}}
    ),
    # Its branches begin inside of nodes.
    "treerl": Work("treerl", leaves=8, max_depth=3, tasks=1, overrides={"branch": {"chains": 2, "places": 1}}),
}


@pytest.mark.parametrize("recipe", DEADLY)
def test_a_coordinator_may_die_between_any_two_things_that_it_does(recipe: str) -> None:
    """Replicas go on meanwhile, and after it: no token is decoded twice, and all are in the accounts."""
    case = Case(3, Faults(), DEADLY[recipe])
    points = simulate(case).points
    assert points > 40
    adopted = 0
    for at in range(1, points + 1):
        world = case.universe()
        world.crash_at = frozenset({at})
        assert not world.simulate(), f"dead at point {at}: {world.broken[0]}"
        assert world.succession.lives == 2
        assert not world.regenerated, f"dead at point {at}"
        (run,) = world.state.runs.values()
        assert run.ledger.spent == world.generated, f"dead at point {at}"
        adopted += world.succession.adopted
    assert adopted > points / 4


def test_without_what_replicas_say_of_their_branches_tokens_are_decoded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would see nothing."""
    monkeypatch.setattr(Sequences, "branches", lambda self, grants: [])
    world = Case(3, Faults(), DEADLY["treepo"]).universe()
    world.crash_at = frozenset(range(20, 400, 20))
    assert not world.simulate()
    assert world.regenerated


def digest_elsewhere(seed: int, hash_seed: str) -> str:
    """Of a world in another process, whose strings have other hashes."""
    code = f"from treeroll.simulation.universe.search import *; print(simulate(case_of({seed})).digest)"
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_one_seed_decides_everything() -> None:
    seed = next(seed for seed in SEEDS if case_of(seed).faults.crashes > 1)
    here = simulate(case_of(seed))
    assert here.trace == simulate(case_of(seed)).trace
    assert here.digest == digest_elsewhere(seed, "1") == digest_elsewhere(seed, "2")
    assert here.digest != simulate(replace(case_of(seed), seed=seed + 1)).digest


def test_nothing_in_a_world_draws_from_the_chance_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world in which a hello was held for long was another one each time: the coordinator drew how long it waits."""

    def refused(*args: object) -> float:
        raise AssertionError("a world asked for chance that its seed does not decide")

    for name in ("random", "uniform", "choice", "randint", "randrange", "expovariate", "sample", "shuffle"):
        monkeypatch.setattr(random, name, refused)
    outcome = simulate(Case(1, Faults(holds=0.04, crashes=1, trainer_deaths=1)))
    assert not outcome.broken, str(outcome.broken[0])


def test_the_command_tells_what_it_saw(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3", "--jobs", "1"]) == 0
    assert "3 worlds from seed 0 on" in capsys.readouterr().out
    assert main(["--seed", "2"]) == 0
    assert "coordinator 1 starts" in capsys.readouterr().out


def test_one_who_stops_is_told_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def two_of_them(seeds: range, jobs: int) -> Iterator[tuple[int, int, bool]]:
        yield from ((seed, 100, True) for seed in seeds[:2])
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_outcomes", two_of_them)
    assert command.main(["--seeds", "10", "--first-seed", "5"]) == 130
    told = capsys.readouterr()
    assert "go on with --first-seed 7 --seeds 8" in told.err
    assert "2 worlds from seed 5 on, 200 events" in told.out


def test_clients_hear_of_a_loss_from_whoever_they_ask_next() -> None:
    """An owner that was held up finds the store empty, and clients ask the one after it until that has found out."""
    world = Case(1, Faults(emptied=True)).universe()
    told: list[str] = []
    world.submitter = Mock(again=lambda: told.append("lost"))
    held_up, after_it = Mock(), Mock()
    for life in (held_up, after_it):
        life.coordinator.recovered.suspended = life.coordinator.recovered.damaged = {}
    succession = world.succession
    succession.life, succession.untold = after_it, True
    succession.recovered(held_up)
    assert not told
    succession.life, succession._heir = None, held_up
    succession.start()
    assert succession.life is held_up
    assert told == ["lost"]
    assert not succession.untold


def test_a_reward_of_a_node_that_a_lost_tree_had_is_looked_for_in_none() -> None:
    world = Case(1, Faults(), Work(reports=True)).universe()
    assert not world.simulate()
    trees = world.trees()
    world.reporter._asked[min(trees), "9.9", "teacher", 1] = {0.5}
    (found,) = world.reporter.check(trees)
    assert found.promise == "NoAckedLoss"
    world.store.lost_at = 1.0
    assert not world.reporter.check(trees)


def test_a_simulated_replica_has_staged_what_it_was_told_to_last() -> None:
    world = Case(1, Faults()).universe()
    server = VirtualServer(world, "r0")
    delays = iter([9.0, 1.0])
    world.random = Mock(expovariate=lambda rate: next(delays))
    for version in (1, 2, 2):
        server._weigh(version, flip=False)
    while world.events.now < 9.0:
        world.events.run(1)
    assert server._staged == 2


@dataclass
class GoesWithItsStore(Universe):
    """A store that keeps nothing, on the coordinator's own machine, which fails."""

    def forgot(self) -> None:
        super().forgot()
        self.succession.die_next()


def test_replicas_serve_a_coordinator_whose_store_has_forgotten_the_one_before_it() -> None:
    """Its epoch is theirs, and so are the numbers of its grants."""
    case = Case(1, Faults(emptied=True), Work(tasks=5))
    outcomes = [simulate(replace(case, seed=seed), GoesWithItsStore) for seed in range(12)]
    assert not any(map(told, outcomes))
    forgotten = ["whose store has forgotten" in "".join(outcome.trace) for outcome in outcomes]
    assert sum(forgotten) > len(outcomes) / 2


def test_without_their_lives_coordinators_of_one_epoch_mix_their_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would see nothing."""
    monkeypatch.setattr(lives, "ReplicaPlane", lambda *args: ReplicaPlane(*args[:3], random.Random(1)))
    case = Case(1, Faults(emptied=True), Work(tasks=5))
    broken = [simulate(replace(case, seed=seed), GoesWithItsStore).broken for seed in range(12)]
    assert any(broken)

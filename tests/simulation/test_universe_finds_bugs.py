"""Bugs that were made once, or nearly: simulation finds each within a few worlds, or it is no use."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from treeroll import lives, ranges
from treeroll.coordinator import records
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.coordinator.replica_session import ReplicaSession
from treeroll.coordinator.restored_runs import restored_run
from treeroll.core.model.branch import Branch, BranchState
from treeroll.core.model.effects import Effect
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Run, RunState
from treeroll.core.model.state import State
from treeroll.core.model.token_bucket import MILLION, Bucket
from treeroll.core.recovery import rebuild as recovery
from treeroll.core.recovery import replay
from treeroll.core.scheduling import orphans
from treeroll.core.scheduling.assign import assign
from treeroll.feed import freshness
from treeroll.feed.shares import from_record, to_record
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.simulation.universe import command
from treeroll.simulation.universe.faults import Faults
from treeroll.simulation.universe.faulty_store import FaultyStore
from treeroll.simulation.universe.kept import keep
from treeroll.simulation.universe.life import Observed
from treeroll.simulation.universe.oracles import Broken
from treeroll.simulation.universe.search import Case, Outcome, _smaller, case_of, shrink, simulate
from treeroll.simulation.universe.universe import Universe
from treeroll.simulation.universe.work import OF_BOTH, Work
from treeroll.store.base import Commit, GroupPosition, Move, Step, StoredTree
from treeroll.store.commit_args import consecutive
from treeroll.tree.node import Origin, shared_origin
from treeroll.tree.tree import path_name

ENOUGH = 150
AWAKE = (BranchState.PENDING, BranchState.RUNNING)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Coordinators warn of every fault."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def first_found(kind: type[Universe] = Universe, faults: Faults | None = None, work: Work | None = None) -> Outcome:
    """The first world, of so many, in which a promise is broken; with these faults and this work, if they are given."""
    for seed in range(ENOUGH):
        case = case_of(seed)
        case = Case(seed, faults or case.faults, work or case.work, case.replicas)
        if (outcome := simulate(case, kind)).broken:
            return outcome
    raise AssertionError(f"the bug is in none of {ENOUGH} worlds")


class AcknowledgesFirst(Observed):
    """Tells that something is done before it is durable."""

    async def _tick(self, items: list[Item]) -> None:
        for item in items:
            if item.done is not None:
                item.done(None)
                item.done = None
        await super()._tick(items)


@dataclass
class AckBeforeCommit(Universe):
    coordinator_class: type[Observed] = AcknowledgesFirst


def test_an_acknowledgement_before_the_commit() -> None:
    promises = ("Progress", "DeliveredOnceAcked", "Answered", "ServiceLives", "RewardOnce")
    assert first_found(AckBeforeCommit).broken[0].promise in promises


def test_branches_of_trees_that_are_lost_again_with_each_tree_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    take_tree = recovery.take_tree

    def take_and_lose_all_before(state: Any, orphans: Any, run: Any, live: Any) -> None:
        take_tree(state, orphans, run, live)
        for before in list(state.trees.values())[:-1]:
            for branch in before.branches.values():
                branch.failures += branch.state in AWAKE

    monkeypatch.setattr(recovery, "take_tree", take_and_lose_all_before)
    found = first_found(faults=Faults(crashes=1, crash_every=150), work=Work(tasks=12))
    assert found.broken[0].promise == "OneOutcomePerBranch"


def test_a_grant_that_has_ended_is_taken_for_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """For its replica still has the report of its end, as nobody has told it that it is durable."""
    began = orphans._began

    def began_ever(live: LiveTree, branch: Branch, prefix_tokens: int) -> str | None:
        own = [node for node in live.tree.lineage(branch.tip) if node.token_start >= prefix_tokens]
        if branch.started and own and own[0].token_start == prefix_tokens:
            return path_name(live.tree.path(own[0].number))
        return began(live, branch, prefix_tokens)

    monkeypatch.setattr(orphans, "_began", began_ever)
    uct = Work("uct", overrides={"branch": {"value": "success", "width": 1}})
    found = first_found(faults=Faults(crashes=3, crash_every=20), work=uct)
    assert found.broken[0].promise in ("Progress", "Invariants")


def test_reports_whose_numbers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    restart = ReplicaSession.restart

    def forget(session: ReplicaSession) -> None:
        session.seen_seq = session.acked_seq = 0
        restart(session)

    monkeypatch.setattr(ReplicaSession, "restart", forget)
    assert first_found().broken[0].promise in ("Invariants", "ForkBlind", "TokensConserved", "Orders")


class DropsRows(FaultyStore):
    """Leaves out rows of a number that it has already, whatever is in them."""

    async def commit(self, commit: Commit, epoch: int) -> None:
        for tree_id in commit.anew:
            self._trees[tree_id].journal, self._trees[tree_id].rewards = [], {}
        await super().commit(replace(commit, anew=[]), epoch)

    def _new_nodes(self, commit: Commit) -> dict[str, list[bytes]]:
        added = {}
        for tree_id, rows in commit.nodes.items():
            first, records = consecutive(tree_id, rows)
            stored = self._trees[tree_id].nodes if tree_id in self._trees else []
            added[tree_id] = records[max(0, len(stored) - first) :]
        return added


@dataclass
class DropWithoutCompare(Universe):
    store_class: type[FaultyStore] = DropsRows


def test_rows_that_are_dropped_without_a_look_at_them() -> None:
    assert first_found(DropWithoutCompare).broken[0].promise in (
        "ForkBlind",
        "Recovery",
        "TreeWellFormed",
        "RewardOnce",
    )


class LeasesByTheClock(FaultyStore):
    """Measures leases by the time of day."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._clock = args[-1].wall


@dataclass
class LeasesByWallClock(Universe):
    store_class: type[FaultyStore] = LeasesByTheClock


def test_leases_by_the_time_of_day() -> None:
    assert first_found(LeasesByWallClock).broken[0].promise in ("DeliveredOnceAcked", "Progress")


class Unfenced(FaultyStore):
    """Takes commits of whoever sends them."""

    def _check_epoch(self, epoch: int) -> None:
        pass


@dataclass
class NoFence(Universe):
    store_class: type[FaultyStore] = Unfenced


def test_an_owner_that_goes_on_after_another_took_over() -> None:
    assert first_found(NoFence).broken


async def believe(coordinator: Coordinator) -> None:
    """Whoever was the owner still is."""


def test_an_owner_that_was_held_up_denies_what_another_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Coordinator, "confirm", believe)
    found = first_found(faults=Faults(pauses=4, requests_lost=0.3, late=0.2))
    assert found.broken[0].promise == "Answered"


def test_an_owner_that_was_held_up_says_what_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Coordinator, "confirm", believe)
    found = first_found(faults=Faults(pauses=4), work=Work(tasks=5, versions=3))
    assert found.broken[0].promise == "NoAckedLoss"


def test_a_bucket_that_waits_for_a_clock_that_was_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def restore(bucket: Bucket, level: int, at: float, used: int, now: float) -> None:
        bucket.since = bucket.at = int(at * MILLION)
        bucket.level = bucket.first_level = level

    monkeypatch.setattr(Bucket, "restore", restore)
    rate = {"budget": {"tokens_per_second": 100, "burst_tokens": 256}}
    found = first_found(faults=Faults(crashes=3, crash_every=20, wall_jumps=3), work=Work(settings=rate))
    assert found.broken[0].promise in ("Progress", "Invariants")


class CountsTwice(Observed):
    """Charges what was carried over to the run once more."""

    async def take_up(self, effects: list[Effect]) -> None:
        for run in self.state.runs.values():
            run.ledger.granted += run.growing
            run.ledger.spent += run.growing
        await super().take_up(effects)


@dataclass
class WrongAccounts(Universe):
    coordinator_class: type[Observed] = CountsTwice


def test_accounts_of_a_run_with_a_budget_that_a_recovery_gets_wrong() -> None:
    work = Work(settings={"budget": {"tokens": 1000}})
    assert first_found(WrongAccounts, Faults(crashes=2, crash_every=20), work).broken[0].promise == "TokensConserved"


def test_budgets_of_tasks_that_a_recovery_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.core.recovery.rebuild.charge_task", lambda *args: None)
    work = Work(tasks=2, epochs=2, settings={"budget": {"task_tokens": 200}})
    found = first_found(faults=Faults(crashes=3, crash_every=20), work=work)
    assert found.broken[0].promise in ("TokensConserved", "Invariants")


def test_places_of_trees_that_a_recovery_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    take_tree = recovery.take_tree

    def take_without_a_place(state: Any, orphans: Any, run: Any, live: Any) -> None:
        take_tree(state, orphans, run, live)
        if live.placed:
            run.pace.growing -= 1

    monkeypatch.setattr(recovery, "take_tree", take_without_a_place)
    found = first_found(faults=Faults(crashes=3, crash_every=20), work=Work(tasks=4, settings={"ahead": 2}))
    assert found.broken[0].promise == "Invariants"


def test_credit_that_is_not_that_of_the_rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(live: LiveTree) -> dict[int, float]:
        return {leaf: 0.0 for leaf, value in live.tree.rewards.items() if value is not None}

    monkeypatch.setattr(records, "rewards_of", forgetful)
    found = first_found(faults=Faults(failing_scorers=0.1))
    assert found.broken[0].promise == "RewardOnce"


OFTEN = Faults(crashes=3, crash_every=20)


def test_weights_that_a_recovery_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(coordinator: Coordinator) -> None:
        """Nobody has published anything."""

    monkeypatch.setattr(lives, "restore", nothing)
    assert first_found(faults=OFTEN, work=Work(versions=2)).broken[0].promise in ("NoAckedLoss", "RefusedReplica")


def test_a_pools_model_that_a_recovery_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(coordinator: Coordinator) -> None:
        """Whoever comes first says what its pool is."""

    monkeypatch.setattr(lives, "restore_models", nothing)
    assert first_found(faults=replace(OFTEN, other_models=True), work=Work(tasks=5)).broken[0].promise == "OneModel"


def test_trees_that_are_delivered_older_than_they_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh(tree: Any, head: Any, terms: Any) -> Any:
        return freshness._fresh(tree, head, terms)

    monkeypatch.setattr(freshness, "_judged", fresh)
    bound = {"max_staleness": 0, "on_update": "continue"}
    work = Work(tasks=5, versions=3, settings=bound)
    assert first_found(faults=Faults(outages=1, trainer_deaths=2), work=work).broken[0].promise == "StalenessBound"


def test_a_cancellation_that_a_recovery_forgets(monkeypatch: pytest.MonkeyPatch) -> None:

    def open_again(*args: Any) -> Run:
        run = restored_run(*args)
        run.state = RunState.CLOSED if run.state is RunState.CANCELLED else run.state
        return run

    monkeypatch.setattr("treeroll.coordinator.recovery.restored_run", open_again)
    found = first_found(faults=OFTEN, work=Work(tasks=5, cancelled_at=2.0))
    assert found.broken[0].promise == "NoAckedLoss"


class ExpiresAll(FaultyStore):
    """Lets trees go before their consumers are done with them."""

    async def settled(self, run_id: str) -> int:
        return len(self._feeds.get(run_id, []))


@dataclass
class GoneTooSoon(Universe):
    store_class: type[FaultyStore] = ExpiresAll


def test_trees_that_expire_before_they_are_acknowledged() -> None:
    work = Work(tasks=3, keep_acknowledged_s=2.0)
    assert first_found(GoneTooSoon, Faults(trainer_deaths=2), work).broken[0].promise == "Progress"


def test_rewards_that_are_acknowledged_before_they_are_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Coordinator.call

    async def hasty(coordinator: Coordinator, event: Any = None, extra: Any = None, **more: Any) -> None:
        if extra is not None:
            await coordinator.post(Item([], None, extra))
        else:
            await call(coordinator, event, **more)

    monkeypatch.setattr(Coordinator, "call", hasty)
    slow = Faults(crashes=3, crash_every=60, slow_store=0.3)
    assert first_found(faults=slow, work=Work(reports=True)).broken[0].promise in ("NoAckedLoss", "RewardOnce")


def test_trees_that_start_while_the_service_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    def start_all_the_same(state: State) -> list[Effect]:
        drains, state.draining = state.draining, False
        effects = assign(state)
        state.draining = drains
        return effects

    monkeypatch.setattr("treeroll.coordinator.loop.assign", start_all_the_same)
    work = Work(tasks=5, drained_at=1.0, settings={"ahead": 1})
    assert first_found(faults=Faults(), work=work).broken[0].promise == "Drained"


class StaysWhereItIs(FaultyStore):
    """Moves groups, and goes on with what these had acknowledged before."""

    async def move_group(self, run_id: str, group: str, move: Move) -> GroupPosition:
        known = self._group(run_id, group)
        done = [*move.acknowledged, *known.acknowledged()]
        return await super().move_group(run_id, group, replace(move, acknowledged=ranges.merged(done)))


@dataclass
class NeverBack(Universe):
    store_class: type[FaultyStore] = StaysWhereItIs


def test_trees_that_a_group_which_was_moved_back_never_gets_again() -> None:
    found = first_found(NeverBack, Faults(requests_lost=0.1), Work(tasks=5, sought_at=8.0))
    assert found.broken[0].promise == "NoAckedLoss"


class ReadsWhatComesNext(FaultyStore):
    """Reads rewards that may still become others."""

    async def load_trees(self, tree_ids: list[str]) -> list[StoredTree | None]:
        trees = await super().load_trees(tree_ids)
        for tree in filter(None, trees):
            for key in [key for key in tree.rewards if key.endswith(":exact:1")]:
                tree.rewards[key] = pb.Reward(
                    scorer="exact", version=1, value=self._chance.random()
                ).SerializeToString()
        return trees


@dataclass
class FickleReads(Universe):
    store_class: type[FaultyStore] = ReadsWhatComesNext


def test_rewards_that_consumers_read_and_that_are_others_afterwards() -> None:
    found = first_found(FickleReads, Faults(), Work(fickle=True))
    assert found.broken[0].promise == "RewardOnce"


def test_models_of_branches_that_a_recovery_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_the_trees_own(*args: Any) -> Origin:
        return shared_origin(*args[:-1], None)

    monkeypatch.setattr(replay, "shared_origin", of_the_trees_own)
    recipe, overrides, (leaves, *_) = OF_BOTH[1]
    pools = {"small": 1, "large": 1}
    work = Work(recipe, leaves, tasks=4, overrides=overrides, settings={"model": "small"}, pools=pools)
    found = first_found(faults=Faults(crashes=3, crash_every=150), work=work)
    assert found.broken[0].promise in ("RewardOnce", "ForkBlind")


class TakesWithoutALook(FaultyStore):
    """A batch is whatever the last rank that asked for it took."""

    async def find_step(self, run_id: str, group: str, number: int, rank: int, world: int, epoch: int) -> Step:
        found = await super().find_step(run_id, group, number, rank, world, epoch)
        if found.world and rank == 1:
            record = from_record(found.record)
            return replace(found, record=to_record([tree._replace(rank=1) for tree in record]))
        return found


@dataclass
class SharedTwice(Universe):
    store_class: type[FaultyStore] = TakesWithoutALook


def test_trees_that_two_ranks_get() -> None:
    found = first_found(SharedTwice, Faults(), Work(tasks=4, ranks=True))
    assert found.broken[0].promise == "DeliveredOnceAcked"


def test_owners_that_take_up_an_emptied_store_under_one_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "EPOCHS", 1)
    held_up = Faults(pauses=8, emptied=True, slow_store=0.1)
    promise = first_found(faults=held_up, work=Work(tasks=5)).broken[0].promise
    assert promise in ("ServiceLives", "TreeWellFormed", "StaleFenced", "Progress", "ForkBlind")


def test_a_failure_is_shrunk_to_the_faults_that_it_needs() -> None:
    found = first_found(LeasesByWallClock)
    *_, smallest = shrink(found, LeasesByWallClock)
    assert "wall_jumps" in smallest.case.faults.kinds
    assert len(smallest.case.faults.kinds) < len(found.case.faults.kinds)
    assert smallest.broken[0].promise == found.broken[0].promise


def test_what_a_world_of_two_models_is_shrunk_to_can_be_a_run() -> None:
    """Settings that need each other go together, or the search would end with their refusal."""
    cases = [case for seed in range(60) if (case := case_of(seed)).work.pools]
    smaller = [one for case in cases for one in _smaller(case)]
    assert {bool(one.work.pools) for one in smaller} == {True, False}
    for one in smaller:
        one.universe()


def test_a_failure_is_kept_whole_and_seen_again_from_its_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "simulate", lambda case: simulate(case, LeasesByWallClock))
    found = first_found(LeasesByWallClock)
    seed = found.case.seed
    assert command.main(["--first-seed", str(seed), "--seeds", "1", "--jobs", "1", "--keep", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    path = tmp_path / f"{seed}.json"
    assert f"seed {seed} breaks a promise at event" in told
    assert f"again: scripts/simulate --case {path}" in told
    assert "commit " in told
    monkeypatch.setattr(command, "case_of", None)  # what a seed stands for matters no more
    assert command.main(["--case", str(path), "--keep", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "\n".join(found.trace) in told
    assert "with the code of commit" not in told
    monkeypatch.setattr(command, "simulate", simulate)
    assert command.main(["--case", str(path)]) == 0
    told = capsys.readouterr().out
    assert "every promise was kept" in told
    assert f"it was trace {found.digest}, and broke {found.broken[0]}" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"case": {"faults": {"floods": 1}}}, "unknown key 'case.faults.floods'"),
        ({"case": {"seed": "one"}}, "case.seed"),
        ({"digest": None}, "digest"),
    ],
)
def test_a_file_that_is_no_world_is_refused(
    changes: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One of a version whose worlds have other faults would be another world, which breaks nothing."""
    path = tmp_path / "1.json"
    keep(replace(simulate(Case(1, Faults())), broken=(Broken("Progress", "none"),)), "v", path)
    stored = json.loads(path.read_text())
    for key, value in changes.items():
        if key == "case":
            for part, inner in value.items():
                stored[key][part] = stored[key][part] | inner if isinstance(inner, dict) else inner
        else:
            stored[key] = value
    path.write_text(json.dumps(stored))
    assert command.main(["--case", str(path)]) == 2
    assert told in capsys.readouterr().err
    path.write_text("{")
    assert command.main(["--case", str(path)]) == 2
    assert command.main(["--case", str(tmp_path / "none.json")]) == 2

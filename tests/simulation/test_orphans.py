"""Branches of a coordinator that died: who may go on with them, what becomes of the others, and when."""

from array import array
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.stored_world import StoredWorld

from treeroll.coordinator.claims import claims_of
from treeroll.core.invariants import violations
from treeroll.core.model.branch import BranchState
from treeroll.core.model.budget import Budget
from treeroll.core.model.effects import (
    DropReplica,
    Effect,
    ForgetTree,
    PersistEntry,
    StartBranch,
    StopBranch,
)
from treeroll.core.model.events import (
    Claim,
    EndKind,
    ReplicaJoined,
    RunCancelled,
    SegmentReported,
    Ticked,
)
from treeroll.core.model.journal import Lost
from treeroll.core.model.state import State
from treeroll.core.recovery.rebuild import rebuild
from treeroll.core.scheduling.assign import assign
from treeroll.core.step import step
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.digest import prefix_digest
from treeroll.simulation.world import BLOCK, MODEL_LEN, PROMPT_TOKENS

EPOCH = 1 << 40
SLOTS = 4


class Takeover:
    """A world in which its coordinator has died, and the one that goes on. Two replicas live, and have said nothing."""

    def __init__(self, steps: int = 16, **choice: Any) -> None:
        self.world = StoredWorld(**{"seed": 4, "tasks": 4, "slots": SLOTS, "replicas": 2, "leaves": 4, **choice})
        self.world.start()
        for _ in range(steps):
            self.world.go_on()
        before = self.world.state
        self.state = State(before.settings, next_grant=EPOCH)
        self.state.now = self.world.now
        self.state.pools[""].weights = before.pools[""].weights
        rebuilt = rebuild(self.state, self.world.remains(), dict(self.world.incarnation))
        self.effects: list[Effect] = [*rebuilt.effects, *assign(self.state)]
        self.before = before

    def claims(self, name: str) -> tuple[Claim, ...]:
        """What a replica would say."""
        served = self.world.serving[name, self.world.incarnation[name]].values()
        orders = [serving.start for serving in served]
        assert all(isinstance(order, StartBranch) for order in orders)
        return tuple(
            Claim(order.grant, order.tree_id, order.branch, order.attempt, order.prefix_tokens)  # type: ignore[attr-defined]
            for order in orders
        )

    def comes(self, name: str, claims: tuple[Claim, ...] | None = None, **more: Any) -> list[Effect]:
        """A replica joins, with all that it has."""
        claims = self.claims(name) if claims is None else claims
        grants = frozenset(claim.grant for claim in self.claims(name))
        trees = frozenset(claim.tree_id for claim in self.claims(name))
        said = {"returns": True, "claims": claims, "live_grants": grants, "kept_trees": trees, **more}
        incarnation = said.pop("incarnation", self.world.incarnation[name])
        return self.feed(ReplicaJoined(name, incarnation, said.pop("slots", SLOTS), BLOCK, MODEL_LEN, **said))

    def feed(self, event: Any, seconds: float = 0.0) -> list[Effect]:
        """Something happens so much later, and every promise is kept."""
        self.state.now += seconds
        effects = step(self.state, event, self.state.now)
        assert not violations(self.state)
        return effects

    def waits_out(self) -> list[Effect]:
        """The time of a lease passes."""
        lease_s = self.state.settings.lease_s
        return self.feed(Ticked()) + self.feed(Ticked(), lease_s / 2) + self.feed(Ticked(), lease_s / 2 + 0.1)

    @property
    def served(self) -> set[int]:
        """Grants of the dead coordinator that are in force."""
        return {grant for grant in self.state.grants if grant < EPOCH}


def stops(effects: list[Effect]) -> set[int]:
    return {effect.grant for effect in effects if isinstance(effect, StopBranch)}


def started(effects: list[Effect]) -> list[StartBranch]:
    return [effect for effect in effects if isinstance(effect, StartBranch)]


def lost(effects: list[Effect]) -> int:
    return sum(isinstance(effect, PersistEntry) and isinstance(effect.entry, Lost) for effect in effects)


def test_nothing_of_the_dead_runs_or_is_lost_before_its_replicas_have_spoken() -> None:
    takeover = Takeover()
    assert not violations(takeover.state)
    assert not started(takeover.effects)
    assert not lost(takeover.effects)
    assert takeover.state.orphans is not None


def test_replicas_go_on_with_all_that_they_have_and_only_what_nobody_has_is_started() -> None:
    takeover = Takeover()
    running = set(takeover.before.grants)
    first = takeover.comes("r0")
    assert not stops(first)
    assert takeover.state.orphans is not None
    second = takeover.comes("r1")
    assert not stops(second)
    assert takeover.state.orphans is None
    assert takeover.served == running
    assert not lost(first + second)
    run = takeover.state.runs["run"]
    assert run.ledger.outstanding >= takeover.before.runs["run"].ledger.outstanding
    assert not run.counters.regrants
    for name in ("r0", "r1"):
        assert takeover.state.replicas[name].grants >= takeover.before.replicas[name].grants


def test_what_a_replica_goes_on_with_is_accounted_as_if_nothing_had_happened() -> None:
    takeover = Takeover()
    takeover.comes("r0")
    takeover.comes("r1")
    for grant, (live, branch) in takeover.before.grants.items():
        again, same = takeover.state.grants[grant]
        assert (again.tree_id, same.number, same.reserved) == (live.tree_id, branch.number, branch.reserved)
        assert same.origin == branch.origin
        assert takeover.state.trees[live.tree_id].ledger.outstanding == sum(
            one.reserved for one in takeover.state.trees[live.tree_id].branches.values()
        )


def test_a_grant_that_has_come_to_a_boundary_may_end_there() -> None:
    takeover = Takeover()
    takeover.comes("r0")
    takeover.comes("r1")
    nodes = {grant: live.tree.nodes[one.tip] for grant, (live, one) in takeover.before.grants.items()}
    grant = next(grant for grant, tip in nodes.items() if tip.grant == grant)
    origin = takeover.state.grants[grant][1].origin
    takeover.feed(SegmentReported(origin.replica_id, origin.incarnation, grant, 0, end=EndKind.CREDIT))
    assert grant not in takeover.state.grants


WRONG: dict[str, Any] = {
    "branch": "7.7",
    "attempt": 2,
    "prefix_tokens": 21,
    "tree_id": "of nobody",
    "grant": EPOCH + 5,
    "stopped": True,
}


@pytest.mark.parametrize("field", WRONG)
def test_a_claim_that_does_not_fit_is_stopped_and_its_branch_is_decoded_again(field: str) -> None:
    takeover = Takeover()
    claims = takeover.claims("r0")
    wrong = replace(claims[0], **{field: WRONG[field]})
    grants = frozenset(claim.grant for claim in (wrong, *claims))
    effects = takeover.comes("r0", (wrong, *claims[1:]), live_grants=grants)
    assert stops(effects) == {claims[0].grant, wrong.grant}
    assert takeover.served == {claim.grant for claim in claims[1:]}
    takeover.comes("r1")
    assert claims[0].grant not in takeover.served


def test_a_grant_of_an_earlier_growth_of_its_tree_is_stopped() -> None:
    takeover = Takeover()
    claims = takeover.claims("r0")
    for claim in claims:  # each was damaged, grew anew, and its coordinator died before the replica was told
        takeover.state.trees[claim.tree_id].first_grant = claim.grant + 1
    stopped = {effect.grant for effect in takeover.comes("r0") if isinstance(effect, StopBranch)}
    assert claims
    assert stopped == {claim.grant for claim in claims}


def test_a_grant_that_its_replica_does_not_list_is_none_of_its_own() -> None:
    takeover = Takeover()
    takeover.comes("r0", live_grants=frozenset())
    assert not takeover.served


def test_of_two_grants_of_a_branch_the_later_one_goes_on() -> None:
    takeover = Takeover()
    claim = takeover.claims("r0")[0]
    older = replace(claim, grant=claim.grant - 1000)
    takeover.comes("r0", (older, claim), live_grants=frozenset({older.grant, claim.grant}))
    assert claim.grant in takeover.served
    assert older.grant not in takeover.served


def test_a_replica_that_was_started_again_has_nothing_and_what_ran_there_is_lost() -> None:
    takeover = Takeover()
    takeover.comes("r0")
    effects = takeover.comes("r1", (), returns=False, incarnation=2, live_grants=frozenset(), kept_trees=frozenset())
    assert takeover.state.orphans is None
    running = len(takeover.before.replicas["r1"].grants)
    assert lost(effects) >= running
    assert takeover.state.runs["run"].counters.regrants == lost(effects)


def test_a_session_that_the_store_does_not_know_goes_on_with_nothing() -> None:
    takeover = Takeover()
    effects = takeover.comes("r0", (), returns=False)
    assert stops(effects) == set(takeover.before.replicas["r0"].grants)
    assert not takeover.served


def test_who_does_not_come_back_within_a_lease_loses_what_it_had() -> None:
    takeover = Takeover()
    takeover.comes("r0")
    kept = takeover.served
    assert takeover.state.orphans is not None
    effects = takeover.waits_out()
    assert takeover.state.orphans is None
    assert {effect.replica_id for effect in effects if isinstance(effect, DropReplica)} >= {"r1"}
    assert lost(effects) >= len(takeover.before.replicas["r1"].grants)
    assert stops(takeover.comes("r1")) == set(takeover.before.replicas["r1"].grants)
    assert takeover.served <= kept  # r0 said nothing more, either


def test_a_replica_is_not_given_more_than_it_has_slots() -> None:
    takeover = Takeover()
    claims = takeover.claims("r0")
    assert len(claims) > 1
    takeover.comes("r0", slots=1)
    assert len(takeover.state.replicas["r0"].grants) == 1


@pytest.mark.parametrize("told", [False, True])
def test_what_ran_for_a_run_that_is_cancelled_meanwhile_is_stopped_when_its_replica_comes(told: bool) -> None:
    takeover = Takeover()
    takeover.feed(RunCancelled("run"))
    effects = takeover.comes("r0", tuple(replace(claim, stopped=told) for claim in takeover.claims("r0")))
    assert stops(effects) == set(takeover.before.replicas["r0"].grants)
    stopping = {grant for grant, (_, one) in takeover.state.grants.items() if one.state is BranchState.STOPPING}
    for grant in takeover.served:
        assert grant in stopping
        takeover.feed(SegmentReported("r0", 1, grant, 0, end=EndKind.STOPPED, dropped_tokens=3))
    takeover.comes("r1")
    spent = takeover.state.runs["run"].ledger.spent
    assert spent >= takeover.before.runs["run"].ledger.spent


def test_a_run_with_caps_starts_nothing_before_it_is_known_what_runs() -> None:
    takeover = Takeover(tasks=12, budget=Budget(tokens=6000))
    assert not started(takeover.comes("r0", (), returns=False, incarnation=2))
    effects = takeover.comes("r1")
    assert started(effects)
    assert takeover.served


def test_trees_that_go_on_are_kept_and_others_forgotten() -> None:
    takeover = Takeover()
    mine = {claim.tree_id for claim in takeover.claims("r0")}
    effects = takeover.comes("r0", kept_trees=frozenset({*mine, "ended"}))
    assert [effect.tree_id for effect in effects if isinstance(effect, ForgetTree)] == ["ended"]


class Stored:
    """What the store has of a world's nodes."""

    def __init__(self, world: StoredWorld) -> None:
        self.world = world

    async def load_nodes(self, paths: list[tuple[str, list[int]]]) -> list[list[bytes]]:
        return [[self._node(tree_id, number) for number in numbers] for tree_id, numbers in paths]

    def _node(self, tree_id: str, number: int) -> bytes:
        part = self.world.stored[tree_id][number]
        ids = array("i", part.tokens).tobytes()
        return pb.Node(token_start=part.start, token_ids=ids).SerializeToString()


def live_branches(takeover: Takeover, name: str) -> list[wire.LiveBranch]:
    """What the replica says, of tokens that it was given as they are stored."""
    said = []
    for claim in takeover.claims(name):
        live, branch = takeover.before.grants[claim.grant]
        ids = array("i", live.task.prompt_ids)
        for node in live.tree.lineage(branch.tip):
            ids = ids[: node.token_start] + array("i", takeover.world.stored[live.tree_id][node.number].tokens)
        one = wire.LiveBranch(grant=claim.grant, tree_id=claim.tree_id, branch=claim.branch, attempt=claim.attempt)
        one.prefix_tokens = claim.prefix_tokens
        one.prefix_digest = prefix_digest(ids[: claim.prefix_tokens].tobytes())
        said.append(one)
    return said


async def test_a_claim_counts_if_its_branch_began_with_the_tokens_that_are_stored() -> None:
    takeover = Takeover()
    coordinator: Any = SimpleNamespace(state=takeover.state, store=Stored(takeover.world))
    branches = live_branches(takeover, "r0")
    assert any(one.prefix_tokens > PROMPT_TOKENS for one in branches)
    hello = wire.Hello(branches=branches, live_grants=[one.grant for one in branches])
    assert await claims_of(coordinator, hello) == takeover.claims("r0")
    hello.branches[0].prefix_digest = prefix_digest(b"others")
    assert await claims_of(coordinator, hello) == takeover.claims("r0")[1:]
    assert await claims_of(coordinator, wire.Hello(branches=branches)) == ()

"""A service in sentences: each rule fires where it should, and only there."""

from collections.abc import Callable

import pytest

from treeroll.pb.v1.watch_pb2 import Snapshot
from treeroll.watch.rules import RULES, Severity, duration
from treeroll.watch.verdict import Finding, any_alarm, verdict
from treeroll.watch.view import StoreLook, View

NOW = 10_000.0


def healthy(at: float = NOW) -> Snapshot:
    """A fleet of three replicas that has made 100 tokens a second since time 0, a tenth of them for nothing."""
    snapshot = Snapshot(at=at, epoch=4, pid=4711, host="here", growing_trees=10)
    pool = snapshot.pools.add(name="", replicas=3, ready_replicas=3, slots=96, running=90, kv_usage_max=0.7)
    pool.kept_replicas = 3
    totals = snapshot.totals
    totals.spent, totals.leaves = int(100 * at), int(at)
    totals.wasted_tokens = totals.pruned_tokens = int(10 * at)
    totals.scored_trees, totals.trees_without_signal = int(at / 5), int(at / 50)
    for name in ("r0", "r1", "r2"):
        snapshot.replicas.add(replica_id=name, state="ready", branches=30, slots=32, tokens_per_s=33.0)
    snapshot.groups.add(run_id="run", group="default", acknowledged=100, waiting=3, stuck_s=20.0)
    snapshot.runs.add(run_id="run", state="open", growing=10).caps.add(resource="tokens", limit=10**9, spent=10**6)
    return snapshot


Change = Callable[[Snapshot], None]


def view(change: Change = lambda snapshot: None, earlier: Change = lambda point: None, now: float = NOW) -> View:
    """Ten minutes of it. `change` is done to the last snapshot, `earlier` to each point before."""
    latest = healthy()
    change(latest)
    past = []
    for second in range(600, 0, -1):
        point = healthy(NOW - second)
        for table in ("replicas", "groups", "runs"):
            point.ClearField(table)
        earlier(point)
        past.append(point)
    return View(now, latest, past)


def found(seen: View) -> list[Finding]:
    return verdict(seen)


def test_of_a_healthy_service_nothing_is_said() -> None:
    assert found(view()) == []


def set_pool(**figures: float) -> Change:
    def change(snapshot: Snapshot) -> None:
        for name, value in figures.items():
            setattr(snapshot.pools[0], name, value)

    return change


def set_first(table: str, **figures: object) -> Change:
    def change(snapshot: Snapshot) -> None:
        for name, value in figures.items():
            setattr(getattr(snapshot, table)[0], name, value)

    return change


def set_totals(**figures: int) -> Change:
    def change(snapshot: Snapshot) -> None:
        for name, value in figures.items():
            setattr(snapshot.totals, name, value)

    return change


def set_own(**figures: object) -> Change:
    def change(snapshot: Snapshot) -> None:
        for name, value in figures.items():
            setattr(snapshot, name, value)

    return change


def both(*changes: Change) -> Change:
    def change(snapshot: Snapshot) -> None:
        for one in changes:
            one(snapshot)

    return change


def promise_broken(snapshot: Snapshot) -> None:
    snapshot.violations.add(invariant="Bounded", times=2, at=NOW - 240, detail="a queue has no end")


def scorer_says(snapshot: Snapshot) -> None:
    snapshot.totals.reward_errors = 30
    snapshot.scorers.add(scorer="math", failed=30, error="it timed out")


def stand_still(point: Snapshot) -> None:
    """No token came in the last half minute."""
    if point.at > NOW - 30:
        point.totals.spent = int(100 * (NOW - 30))


def waits(point: Snapshot) -> None:
    point.waiting_tasks = 5
    point.pools[0].running = 40


CASES = {
    "InvariantBroken": (promise_broken, None, "Bounded was broken 2x, last 4 min ago: a queue has no end"),
    "StoreFull": (set_own(store_full=True, store_used=0.93), None, "the store has used 93% of its memory, so no tree"),
    "StoreFilling": (set_own(store_used=0.85), None, "the store has used 85% of its memory; at 90 %"),
    "NoReplica": (
        both(set_pool(ready_replicas=0, running=0, waiting_slot=12), set_first("replicas", losses=1, lost_cause="x")),
        None,
        "the fleet has no replica that is ready, and 12 branches wait, 3 are to be started; one was lost because x",
    ),
    "Stalled": (
        stand_still,
        stand_still,
        "90 branches run and no segment has come for 30 s, where one usually comes every 1 s",
    ),
    "FeedBlocked": (
        set_first("groups", stuck_s=300.0, waiting=812, leased=2),
        None,
        "group default of run run has acknowledged no tree for 5 min, while 812 trees wait and 2 are on lease",
    ),
    "ReplicaFlapping": (
        set_first("replicas", recent_losses=3, lost_cause="its process died"),
        None,
        "replica r0 was lost 3x in 10 min, last because its process died",
    ),
    "ReplicaQuarantined": (
        set_first("replicas", state="quarantined", reason="nan"),
        None,
        "replica r0 is quarantined: nan",
    ),
    "ReplicaSlow": (
        set_first("replicas", tokens_per_s=16.0),
        None,
        "replica r0 makes 16 tokens/s, 48% of the median of its pool, over 2 min",
    ),
    "ScorerFailing": (
        scorer_says,
        None,
        "10.0% of the leaves of the last 5 min have no reward; math says: it timed out",
    ),
    "WasteHigh": (
        set_totals(wasted_tokens=110_000, pruned_tokens=101_000, late_tokens=9_000),
        None,
        "43% of the tokens of the last 5 min are in no sample; 69% of these came after",
    ),
    "NoSignal": (
        set_totals(trees_without_signal=245),
        None,
        "55% of the last 100 scored trees have no signal",
    ),
    "KvThrash": (
        set_pool(preempted=60, kv_usage_max=0.97),
        None,
        "the fleet preempts 0.2 requests/s, with a KV cache of 97%",
    ),
    "CreditStops": (
        set_pool(finished_grants=900, credit_grants=10),
        None,
        "1.1% of the grants of the fleet stopped in the last 5 min for no answer had come in time",
    ),
    "BudgetNearlySpent": (
        lambda snapshot: setattr(snapshot.runs[0].caps[0], "spent", 960_000_000),
        None,
        "run run has spent 960,000,000 of 1,000,000,000 tokens",
    ),
    "Draining": (set_own(draining=True), None, "the service drains"),
    "IdleSlots": (waits, waits, "58% of the slots of the fleet are idle while 5 tasks wait"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_finds_what_it_is_for_and_nothing_else_is_said(name: str) -> None:
    change, earlier, sentence = CASES[name]
    [finding] = found(view(change, earlier or (lambda point: None)))
    assert finding.rule == name
    assert finding.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("change", "earlier"),
    [
        (set_pool(ready_replicas=0, running=0), None),  # nothing waits for a replica
        (set_pool(kv_usage_max=0.97), None),  # nothing is preempted
        (set_pool(preempted=60), None),  # KV has room
        (set_first("groups", stuck_s=900.0, waiting=0), None),
        (set_first("groups", stuck_s=299.0), None),
        (set_first("replicas", recent_losses=2), None),
        (set_first("replicas", tokens_per_s=17.0), None),
        (set_first("replicas", tokens_per_s=1.0, branches=0), None),  # it has nothing to do
        (set_totals(reward_errors=2), None),
        (set_pool(finished_grants=900, credit_grants=9), None),
        (set_pool(finished_grants=9, credit_grants=9), None),  # there were few
        (set_totals(wasted_tokens=103_000), None),
        (set_totals(trees_without_signal=205), None),
        (both(stand_still, set_pool(running=0)), stand_still),  # nothing runs
        (set_own(waiting_tasks=5), None),  # tasks wait since just now
        (set_own(store_used=0.79), None),
    ],
)
def test_what_is_short_of_a_threshold_is_not_said(change: Change, earlier: Change | None) -> None:
    assert found(view(change, earlier or (lambda point: None))) == []


def test_each_rule_has_its_case() -> None:
    assert set(CASES) | {"CoordinatorSilent", "StoreAway", "StoreEvicting"} == {rule.name for rule in RULES}


def test_of_a_silent_coordinator_only_that_is_said_and_what_it_broke() -> None:
    seen = view(both(promise_broken, set_own(draining=True)), now=NOW + 12)
    assert [finding.rule for finding in found(seen)] == ["InvariantBroken", "CoordinatorSilent"]
    assert found(seen)[1].sentence == "no news from the coordinator for 12 s, last epoch 4, pid 4711 on here"
    assert found(view(now=NOW + 5)) == []


def test_a_store_in_which_no_coordinator_ever_was_is_silent() -> None:
    [finding] = found(View(NOW, None))
    assert (finding.rule, any_alarm([finding])) == ("CoordinatorSilent", True)


def test_a_store_that_does_not_answer_or_evicts_is_said_beside_the_silence() -> None:
    seen = View(NOW + 60, healthy(), store=StoreLook("connection refused", evicted_keys=5))
    assert [finding.rule for finding in found(seen)] == ["CoordinatorSilent", "StoreAway", "StoreEvicting"]


def test_advice_hides_behind_alarms_and_the_worst_comes_first() -> None:
    seen = view(both(waits, set_first("groups", stuck_s=400.0), promise_broken), waits)
    assert [finding.rule for finding in found(seen)] == ["InvariantBroken", "FeedBlocked"]


def test_a_service_whose_segments_are_long_is_not_stalled_between_them() -> None:
    """Tokens come every 20 s: six times that is two minutes."""

    def rarely(point: Snapshot) -> None:
        point.totals.spent = 2000 * int(point.at / 20)

    seen = view(rarely, rarely)
    assert found(View(NOW, seen.latest, seen.past)) == []


def test_what_an_earlier_epoch_counted_is_compared_with_nothing() -> None:
    def earlier(point: Snapshot) -> None:
        point.epoch = 3

    assert found(view(set_totals(wasted_tokens=900_000, reward_errors=5000), earlier)) == []


def test_severities_are_ordered_as_the_table_is() -> None:
    order = list(Severity)
    assert [order.index(rule.severity) for rule in RULES] == sorted(order.index(rule.severity) for rule in RULES)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (119, "119 s"), (240, "4 min"), (7300, "2 h"), (200_000, "2 days")]
)
def test_durations_are_said_in_one_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said

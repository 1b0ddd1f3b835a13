"""The law of autoscaling: what it answers to demand, what bounds it, and what it never does."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.autoscale.consumption import Cap, Inequality
from treeroll.autoscale.law import Decision, Law, Rule, Signal
from treeroll.autoscale.terms import Terms

# Ten branches for each replica.
TERMS = Terms(least=1, most=100, target=1.0, slots=10)
RUNS = Signal(0.0, 1, open_runs=1)


def decided(terms: Terms, signals: Sequence[Signal]) -> list[Decision]:
    law = Law(terms)
    return [law.look(signal) for signal in signals]


def followed(terms: Terms, demands: Sequence[int], size: int = 1, every_s: float = 1.0) -> list[Decision]:
    """Decisions of a pool that has the size of each before the next signal."""
    law, found = Law(terms), []
    for number, demand in enumerate(demands):
        found.append(law.look(replace(RUNS, at=number * every_s, size=size, waiting=demand)))
        size = found[-1].desired
    return found


def sizes(found: Sequence[Decision]) -> list[int]:
    return [decision.desired for decision in found]


def test_a_pool_has_a_replica_for_as_many_branches_as_one_is_to_have() -> None:
    terms = replace(TERMS, target=0.7, slots=64)  # 44.8
    [found] = decided(terms, [replace(RUNS, size=10, live=400, waiting=48)])
    assert (found.desired, found.rule, found.carries) == (10, Rule.STABLE, pytest.approx(44.8))
    [found] = decided(terms, [replace(RUNS, size=10, live=400, waiting=49)])
    assert found.desired == 11


def test_tasks_that_may_start_count_as_the_branches_that_trees_have() -> None:
    [found] = decided(TERMS, [replace(RUNS, size=20, live=30, waiting=10, trees=10, tasks=40)])
    assert (found.width, found.stable, found.desired) == (4.0, 200.0, 20)
    [found] = decided(TERMS, [replace(RUNS, size=4, tasks=40)])
    assert (found.width, found.desired) == (1.0, 4)


def test_a_replica_counts_for_as_many_slots_as_its_kv_cache_carries() -> None:
    half_used = replace(RUNS, size=10, live=50, slots=100, replicas=10, kv_usage=0.8)  # 1.6 at full slots
    [found] = decided(TERMS, [half_used])
    assert found.carries == pytest.approx(5.0)
    assert found.desired == 10
    [found] = decided(TERMS, [replace(half_used, kv_usage=0.2)])
    assert found.carries == 10.0


def test_the_kv_cache_is_remembered_while_nothing_runs_that_tells_of_it() -> None:
    law = Law(TERMS)
    law.look(replace(RUNS, size=10, live=50, slots=100, replicas=10, kv_usage=0.8))
    found = [law.look(replace(RUNS, at=float(at), size=10, slots=100, replicas=10)) for at in (100, 200)]
    assert [decision.carries for decision in found] == [pytest.approx(5.0)] * 2


def test_demand_is_the_mean_of_the_stable_window() -> None:
    found = followed(TERMS, [100] * 60 + [150] * 60, size=10)
    assert sizes(found[:60]) == [10] * 60
    assert found[89].stable == pytest.approx(125.0)
    assert sizes(found[119:]) == [15]
    assert {decision.rule for decision in found} == {Rule.STABLE}


def test_the_panic_window_takes_over_when_it_asks_for_twice_as_much_as_there_is() -> None:
    calm = [replace(RUNS, at=float(at), size=10, waiting=100) for at in range(60)]
    burst = [replace(RUNS, at=60.0 + at, size=10, waiting=300) for at in range(6)]
    found = decided(TERMS, [*calm, *burst])
    assert [decision.rule for decision in found[60:]] == [Rule.STABLE] * 2 + [Rule.PANIC] * 4
    assert sizes(found[62:]) == [20, 24, 27, 30]
    assert found[-1].stable == pytest.approx(120.0)


def test_nothing_is_taken_away_for_a_minute_after_a_panic() -> None:
    terms = replace(TERMS, shrink_delay_s=60.0)
    found = followed(terms, [10] * 60 + [300] * 6 + [0] * 200)
    panics = [number for number, decision in enumerate(found) if decision.panic >= 20 * decision.size]
    over = panics[-1] + 60
    assert found[panics[-1]].rule is Rule.PANIC
    assert found[over - 1].rule is Rule.PANIC_HOLD
    assert sizes(found[: over + 1]) == sorted(sizes(found[: over + 1]))
    assert found[-1].desired == 1


def test_a_pool_shrinks_to_the_largest_size_that_was_wanted_within_the_delay() -> None:
    found = followed(TERMS, [200] * 400 + [50] * 200 + [100] + [50] * 600, size=20)
    assert sizes(found[:700]) == [20] * 700
    assert Rule.SHRINK_DELAY in {decision.rule for decision in found[400:700]}
    assert found[-1].desired == 5
    assert sorted(sizes(found), reverse=True) == sizes(found)


def test_a_pool_that_was_not_watched_for_the_delay_does_not_shrink() -> None:
    found = followed(TERMS, [10] * 301, size=20)
    assert set(sizes(found[:300])) == {20}
    assert found[300].desired == 1


def test_a_step_bounds_what_is_added_at_once_and_the_next_one_waits_a_panic_window() -> None:
    found = followed(replace(TERMS, step=8), [300] * 40)
    assert sizes(found[:14]) == [9] * 7 + [17] * 7
    assert found[0].rule is Rule.STEP
    assert sizes(found[14:21]) == [25] * 7
    assert found[-1].desired == 30


@pytest.mark.parametrize(
    ("signal", "desired", "rule"),
    [
        (replace(RUNS, size=5, waiting=5000), 100, Rule.MOST),
        (replace(RUNS, size=0), 3, Rule.LEAST),
        (replace(RUNS, size=200, waiting=900), 100, Rule.MOST),
    ],
)
def test_a_pool_is_never_beyond_its_bounds(signal: Signal, desired: int, rule: Rule) -> None:
    [found] = decided(replace(TERMS, least=3), [signal])
    assert (found.desired, found.rule) == (desired, rule)


def test_a_pool_has_no_replica_only_while_no_run_is_open() -> None:
    terms = replace(TERMS, least=0)
    idle = [replace(RUNS, at=float(at), size=1) for at in range(400)]
    found = decided(terms, idle)
    assert (found[-1].desired, found[-1].rule) == (1, Rule.RUN_OPEN)
    closed = [replace(signal, open_runs=0) for signal in idle]
    assert decided(terms, closed)[-1].desired == 0
    [woken] = decided(terms, [replace(RUNS, size=0)])
    assert (woken.desired, woken.rule) == (1, Rule.RUN_OPEN)


@pytest.mark.parametrize(("binds", "rule"), [(Inequality.RATE, Rule.RATE), (Inequality.STALENESS, Rule.STALENESS)])
def test_a_trainer_that_takes_no_more_caps_the_pool_and_the_decision_says_so(binds: Inequality, rule: Rule) -> None:
    cap = Cap(12, binds, "it takes no more")
    [found] = decided(TERMS, [replace(RUNS, size=10, waiting=400, cap=cap)])
    assert (found.desired, found.rule) == (12, rule)
    assert found.because().endswith("for each replica; it takes no more")


def test_a_decision_is_one_line_with_its_inputs() -> None:
    [found] = decided(TERMS, [replace(RUNS, size=20, live=30, waiting=10, trees=10, tasks=40)])
    assert found.because() == (
        "stable: 30 branches live, 10 waiting, 40 tasks x 4 branches soon; mean 200 (200 lately), 10 for each replica"
    )


terms_of = st.builds(
    lambda least, more, step, delay_s: replace(
        TERMS, least=least, most=max(1, least + more), step=step, shrink_delay_s=delay_s
    ),
    st.integers(0, 20), st.integers(0, 60), st.none() | st.integers(1, 10), st.sampled_from([60.0, 120.0, 300.0]),
)  # fmt: skip
caps = st.none() | st.builds(Cap, st.integers(1, 50), st.sampled_from(Inequality), st.just("it takes no more"))
signals_of = st.lists(
    st.builds(
        Signal,
        at=st.just(0.0), size=st.integers(0, 120), live=st.integers(0, 400), waiting=st.integers(0, 400),
        tasks=st.integers(0, 100), trees=st.integers(0, 40), open_runs=st.integers(0, 2), slots=st.just(400),
        replicas=st.just(40), kv_usage=st.floats(0.0, 1.0), cap=caps,
    ),
    min_size=1, max_size=60,
)  # fmt: skip


def timed(signals: Sequence[Signal], gaps: Sequence[float]) -> list[Signal]:
    at, found = 0.0, []
    for number, signal in enumerate(signals):
        at += gaps[number % len(gaps)]
        found.append(replace(signal, at=at))
    return found


gaps_of = st.lists(st.floats(0.5, 40.0), min_size=1, max_size=5)


@given(terms_of, signals_of, gaps_of)
def test_whatever_is_seen_a_pool_stays_within_its_bounds(
    terms: Terms, signals: Sequence[Signal], gaps: Sequence[float]
) -> None:
    assert all(terms.least <= decision.desired <= terms.most for decision in decided(terms, timed(signals, gaps)))


@given(terms_of, signals_of, gaps_of)
def test_equal_signals_give_equal_decisions(terms: Terms, signals: Sequence[Signal], gaps: Sequence[float]) -> None:
    assert decided(terms, timed(signals, gaps)) == decided(terms, timed(signals, gaps))


@given(terms_of, signals_of, gaps_of)
def test_within_a_minute_after_a_panic_nothing_is_taken_away(
    terms: Terms, signals: Sequence[Signal], gaps: Sequence[float]
) -> None:
    panicked_at = None
    for decision in decided(terms, timed(signals, gaps)):
        if decision.panic / decision.carries > max(1, 2 * decision.size):
            panicked_at = decision.at
        if panicked_at is not None and decision.at < panicked_at + terms.stable_s:
            assert decision.desired >= min(decision.size, terms.most)


@given(terms_of, signals_of, gaps_of, st.data())
def test_more_demand_never_asks_for_fewer_replicas(
    terms: Terms, signals: Sequence[Signal], gaps: Sequence[float], data: st.DataObject
) -> None:
    more = [
        replace(
            signal,
            waiting=signal.waiting + data.draw(st.integers(0, 200), "waiting"),
            tasks=signal.tasks + data.draw(st.integers(0, 50), "tasks"),
        )
        for signal in signals
    ]
    fewer = decided(terms, timed(signals, gaps))
    for less, found in zip(fewer, decided(terms, timed(more, gaps)), strict=True):
        assert found.desired >= less.desired


@given(terms_of, st.integers(0, 1500), st.integers(0, 100), st.sampled_from([0.5, 1.0, 5.0]))
def test_constant_demand_is_followed_once_and_never_turned_back(
    terms: Terms, demand: int, size: int, every_s: float
) -> None:
    found = sizes(followed(terms, [demand] * round(1200 / every_s), size, every_s))
    turns = [later - earlier for earlier, later in pairwise([size, *found]) if later != earlier]
    within = turns[1:] if not terms.least <= size <= terms.most else turns
    assert all(turn > 0 for turn in within) or all(turn < 0 for turn in within)
    assert found[-1] == min(max(terms.least, 1, -(-demand // 10)), terms.most)

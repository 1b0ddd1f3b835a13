"""A soak's verdicts: what faults may cost, and that nothing grows."""

from dataclasses import replace

from treeroll.chaos.ordeal import Outcome
from treeroll.chaos.soak import Held, Pair, cost, growth, rate
from treeroll.chaos.watch import Sample

NOTHING = Outcome(0.0, 0, [], [], (), 0, 0)
HELD = Held(keys=3, redis_mb=10.0, coordinator_mb=90.0, replicas_mb=200.0, handles=110)


def pair(struck_rate: float, quiet_rate: float, held: Held = HELD) -> Pair:
    return Pair(NOTHING, NOTHING, struck_rate, quiet_rate, held)


def test_a_rate_is_of_its_span_and_none_without_two_samples_in_it() -> None:
    samples = [Sample(at_s, spent, 0, 0) for at_s, spent in ((0.0, 0), (1.0, 100), (3.0, 200), (9.0, 999))]
    assert rate(samples, 0.5, 4.0) == 50.0
    assert rate(samples, 4.0, 9.5) == 0.0


def test_faults_may_cost_a_tenth_over_all_pairs() -> None:
    assert cost([pair(80.0, 100.0), pair(102.0, 100.0)])[0][1:] == ["0.80 x", "1.02 x", "0.91 x", ">= 0.9 x", "kept"]
    assert cost([pair(80.0, 100.0), pair(90.0, 100.0)])[0][-1] == "0.85 x"


def test_what_is_held_at_the_end_is_compared_with_what_was_held_after_the_first_pair() -> None:
    assert [line[-1] for line in growth([pair(1, 1), pair(1, 1)])] == ["kept"] * 5
    grown = [
        replace(HELD, keys=4),
        replace(HELD, redis_mb=13.0),
        replace(HELD, coordinator_mb=120.0),
        replace(HELD, replicas_mb=300.0),
        replace(HELD, handles=140),
    ]
    for number, held in enumerate(grown):
        verdicts = [line[-1] for line in growth([pair(1, 1), pair(1, 1, held)])]
        assert [index for index, verdict in enumerate(verdicts) if verdict != "kept"] == [number]

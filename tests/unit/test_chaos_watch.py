"""What a watch's samples say: how long a run stood still, when it went on, and how fast others were."""

from treeroll.chaos.watch import Sample, longest_stall_s, regranted_s, tokens_per_s, went_on_s


def sample(at_s: float, spent: int, regrants: int = 0, **replicas: int) -> Sample:
    return Sample(at_s, spent, regrants, 0, replicas)


# Tokens until 1.0, nothing until 3.5, one token, then nothing more.
SAMPLES = [sample(0.0, 0), sample(0.5, 5), sample(1.0, 9), sample(2.0, 9), sample(3.5, 10, 2), sample(4.0, 10, 3)]


def test_the_longest_stall_is_between_two_moments_of_growth() -> None:
    assert longest_stall_s(SAMPLES, 1.0, 4.0) == 2.5
    assert longest_stall_s(SAMPLES, 0.0, 1.0) == 0.5
    assert longest_stall_s(SAMPLES, 3.6, 4.0) == 0.0


def test_a_recovery_lasts_until_the_first_growth_after_the_end_of_the_fault() -> None:
    assert went_on_s(SAMPLES, 3.0, 3.0) == 0.5
    assert went_on_s(SAMPLES, 3.0, 3.25) == 0.25
    assert went_on_s(SAMPLES, 3.0, 3.75) == 0.0
    assert went_on_s(SAMPLES, 3.5, 3.5) is None


def test_branches_are_granted_again_when_the_count_exceeds_what_it_was() -> None:
    assert regranted_s(SAMPLES, 1.0) == 2.5
    assert regranted_s(SAMPLES, 3.5) == 0.5
    assert regranted_s(SAMPLES, 4.0) is None


def test_the_throughput_of_replicas_counts_those_named_and_a_new_life_from_its_beginning() -> None:
    samples = [sample(0.0, 0, r0=10, r1=100), sample(1.0, 0, r0=20, r1=5), sample(2.0, 0, r0=30, r1=25)]
    assert tokens_per_s(samples, ["r0"], 0.0, 2.0) == 10.0
    assert tokens_per_s(samples, ["r1"], 0.0, 2.0) == 10.0
    assert tokens_per_s(samples, ["r0", "r1"], 1.0, 2.0) == 30.0
    assert tokens_per_s(samples, ["r0"], 2.0, 3.0) == 0.0

"""Virtual time: the same trees whatever the schedule, figures that hold together, and models that are what they say."""

import gc
from collections import Counter
from dataclasses import replace

import pytest

from treeroll.bench.simulate import SCHEDULES, SimulateBench
from treeroll.bench.simulate_fit import measure
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.policy.base import Limits
from treeroll.simulation.cluster import Cluster, Simulation
from treeroll.simulation.event_queue import EventQueue
from treeroll.simulation.lengths import LogNormal, path_ends, uniform
from treeroll.simulation.step_model import StepModel, fit, gpu_like
from treeroll.simulation.universe.virtual_loop import VirtualLoop
from treeroll.simulation.virtual_coordinator import Latency
from treeroll.simulation.virtual_core import Workload
from treeroll.simulation.virtual_kv import Span, VirtualKv

TREES = 24
WORKLOAD = Workload(1, Limits(4, 64, 5, 320), 100, LogNormal(150, 1.0), "level")
LATENCY = Latency(round_trip_s=0.01, commit_s=0.001, segment_s=25e-6)
CLUSTER = Cluster(
    replicas=2, slots=4, kv_tokens=4 * WORKLOAD.longest, steps=gpu_like(0.01, 64, 3e-5), latency=LATENCY, batch_trees=2
)


async def simulated(name: str, cluster: Cluster = CLUSTER, workload: Workload = WORKLOAD) -> dict[str, float]:
    return await Simulation(cluster, workload, TREES, SCHEDULES[name]).run()


async def test_every_schedule_grows_the_same_trees() -> None:
    for sync in ("level", "path"):
        found = [await simulated(name, workload=replace(WORKLOAD, sync=sync)) for name in SCHEDULES]
        grown = {tuple(figures[of] for of in ("trees", "leaves", "segments", "tokens")) for figures in found}
        assert len(grown) == 1
        assert found[0]["trees"] == TREES


async def test_equal_seeds_give_equal_figures() -> None:
    first, again = [await simulated("tree"), await simulated("tree")]
    real = {"real_s", "segments_per_real_s"}
    assert {name: first[name] for name in first.keys() - real} == {name: again[name] for name in again.keys() - real}


@pytest.mark.parametrize(
    ("name", "makespan_s", "recomputed_tokens", "requests"),
    [
        ("tree", 20.81546, 392, 96),
        ("least_loaded", 20.60253, 3682, 96),
        ("round_robin", 21.74064, 3976, 96),
        ("segments", 20.95539, 445, 269),
        ("lockstep", 25.912715, 445, 269),
        ("lockstep-refill", 27.19143, 445, 269),
    ],
)
async def test_one_seed_gives_the_same_figures_in_every_version(
    name: str, makespan_s: float, recomputed_tokens: int, requests: int
) -> None:
    """Making the simulation faster must not change them. A better decision of the core may: then say so here."""
    found = await simulated(name)
    assert (found["segments"], found["tokens"]) == (269, 15203)
    assert (found["recomputed_tokens"], found["requests"]) == (recomputed_tokens, requests)
    assert found["makespan_s"] == pytest.approx(makespan_s, abs=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
async def test_what_a_run_drops_is_in_no_cycle_that_only_a_garbage_collection_frees(name: str) -> None:
    simulation = Simulation(CLUSTER, WORKLOAD, TREES, SCHEDULES[name])
    await simulation.run()
    assert gc.collect() == 0


@pytest.mark.parametrize("name", SCHEDULES)
async def test_no_schedule_beats_the_bound_or_is_busier_than_always(name: str) -> None:
    found = await simulated(name)
    assert found["bound_s"] <= found["makespan_s"]
    assert 0 < found["utilisation"] <= 1


async def test_running_branches_need_one_request_each_and_held_ones_one_per_segment() -> None:
    tree, segments = await simulated("tree"), await simulated("segments")
    assert tree["requests"] == tree["leaves"]
    assert tree["expired"] == 0
    assert segments["requests"] == segments["segments"]


async def test_a_slow_coordinator_costs_segments_more_than_running_branches() -> None:
    slow = replace(CLUSTER, latency=replace(LATENCY, round_trip_s=0.4))
    lost = {
        name: (await simulated(name, slow))["makespan_s"] / (await simulated(name))["makespan_s"]
        for name in ("tree", "segments")
    }
    assert 1 < lost["tree"] < lost["segments"]


async def test_branches_without_credit_end_and_are_granted_again() -> None:
    silent = replace(CLUSTER, latency=replace(LATENCY, round_trip_s=5.0))
    found = await simulated("tree", silent)
    assert found["expired"] > 0
    assert found["tokens"] == (await simulated("tree"))["tokens"]


async def test_a_bench_shows_every_variant_at_every_round_trip() -> None:
    bench = SimulateBench(CLUSTER, WORKLOAD, [0.001, 0.1], 1000, TREES, ["tree", "lockstep"])
    result = await bench.run(2, lambda line: None)
    assert list(result.rounds) == ["tree 1ms", "lockstep 1ms", "tree 100ms", "lockstep 100ms"]
    assert all(len(rounds) == 2 for rounds in result.rounds.values())
    assert all(column.figure in result.rounds["tree 1ms"][0] for column in result.columns[2:])


async def test_trees_are_estimated_from_the_segments_wanted() -> None:
    result = await SimulateBench(CLUSTER, WORKLOAD, [0.01], 1000, None, ["tree"]).run(1, lambda line: None)
    assert 800 < result.rounds["tree 10ms"][0]["segments"] < 1200


async def test_kv_that_cannot_hold_what_runs_is_refused() -> None:
    with pytest.raises(InvalidInput, match="preemption is not simulated"):
        await simulated("tree", replace(CLUSTER, kv_tokens=WORKLOAD.longest))


def test_unknown_variants_are_refused() -> None:
    with pytest.raises(InvalidInput, match="there is tree, least_loaded"):
        SimulateBench(CLUSTER, WORKLOAD, [0.01], 1000, TREES, ["oak"])


def test_things_happen_in_the_order_of_their_time() -> None:
    queue, seen = EventQueue(), list[float]()
    for time in (3.0, 1.0, 2.0):
        queue.at(time, seen.append)
    assert queue.run(2)
    assert not queue.run(2)
    assert seen == [1.0, 2.0, 3.0]


def test_a_fork_recomputes_one_token_while_its_prefix_is_held_and_all_of_it_once_evicted() -> None:
    kv = VirtualKv(capacity=200, block_size=16)
    prompt = Span(None, 33)
    assert kv.hold(prompt) == 33
    node = kv.extend(prompt, 32)
    assert kv.hold(node) == 1
    kv.release(node)
    kv.release(node)
    assert kv.hold(node) == 1
    kv.release(node)
    other = Span(None, 190)
    kv.hold(other)
    kv.release(other)
    assert kv.hold(node) == 65


def test_an_unaligned_prefix_recomputes_its_last_block() -> None:
    kv = VirtualKv(capacity=200, block_size=16)
    prompt = Span(None, 40)
    kv.hold(prompt)
    assert kv.hold(prompt) == 8


def test_drawn_lengths_follow_the_distribution() -> None:
    lengths, ends = LogNormal(150, 1.0), [64, 128, 192, 256, 320]
    hazards = lengths.hazards(ends)
    ended: Counter[int] = Counter()
    for seed in range(4000):
        drawn, by_itself = path_ends(seed * 7919, ends, hazards, 0, len(ends))
        ended[len(drawn)] += by_itself
    for index, end in enumerate(ends):
        assert sum(ended[count] for count in range(index + 2)) / 4000 == pytest.approx(lengths.below(end), abs=0.03)


def test_a_branch_granted_anew_ends_where_it_would_have_ended() -> None:
    ends = [164, 228, 292, 356, 420]
    hazards = LogNormal(150, 1.0).hazards([end - 100 for end in ends])
    for seed in range(100):
        drawn, by_itself = path_ends(seed, ends, hazards, 100, len(ends))
        for done in range(len(drawn)):
            start = ([100, *ends])[done]
            assert path_ends(seed, ends[done:], hazards, start, len(ends)) == (drawn[done:], by_itself)
            only, ended = path_ends(seed, ends[done:], hazards, start, 1)
            assert (only, ended) == (drawn[done : done + 1], by_itself and done == len(drawn) - 1)


def test_draws_are_uniform_and_differ_by_key() -> None:
    draws = [uniform(seed, key) for seed in range(100) for key in range(14)]
    assert len(set(draws)) == len(draws)
    assert 0 <= min(draws) < 0.01
    assert 0.99 < max(draws) < 1
    assert sum(draws) / len(draws) == pytest.approx(0.5, abs=0.02)


def test_a_fit_finds_the_model_that_made_the_times() -> None:
    made = StepModel(0.01, 16, 0.0005, 0.00003)
    steps = [(batch, made.decode_s(batch)) for batch in (1, 2, 4, 8, 16, 32, 64)]
    found = fit(steps, [(tokens, 0.02 + tokens * made.prefill_token_s) for tokens in (100, 200, 400)])
    assert found.knee == 16
    for figure in ("step_s", "per_request_s", "prefill_token_s"):
        assert getattr(found, figure) == pytest.approx(getattr(made, figure))


def test_a_running_engine_can_be_measured() -> None:
    latency = SimulatedLatency(step_s=0.02, knee=64, prefill_token_s=0.002, jitter=0.0)
    queue = EventQueue()
    loop = VirtualLoop(queue, 0.0, lambda: 0.0)  # type: ignore[abstract]

    async def measured() -> StepModel:
        engine = SimulatedEngine(Detokenizer(MODEL_DIR).tokenizer, slots=2, max_model_len=256, latency=latency)
        await engine.start()
        try:
            return await measure(engine, lambda line: None)
        finally:
            await engine.shutdown()

    work = loop.start(measured())
    while queue.run(1000):
        pass
    loop.bury()
    # A request's last delta has fewer tokens than the others, and takes as long.
    assert work.result().step_s == pytest.approx(latency.step_s, rel=0.15)
    assert work.result().prefill_token_s == pytest.approx(latency.prefill_token_s, rel=0.01)


def test_one_batch_size_is_not_enough_for_a_fit() -> None:
    with pytest.raises(InvalidInput, match="at least two batch sizes"):
        fit([(1, 0.01)], [(1, 0.1), (2, 0.2)])

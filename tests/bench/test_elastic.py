"""Replicas that come and go in virtual time: the real law and the real core over a fleet with losses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from treeroll.autoscale.terms import Terms
from treeroll.bench.elastic import FIXED, LAW, ElasticBench
from treeroll.cli.main import app
from treeroll.core.model.events import LossKind
from treeroll.errors import InvalidInput
from treeroll.policy.base import Limits
from treeroll.simulation.cluster import Cluster
from treeroll.simulation.elastic import ElasticSimulation, Phase
from treeroll.simulation.lengths import LogNormal
from treeroll.simulation.step_model import gpu_like
from treeroll.simulation.virtual_coordinator import Latency
from treeroll.simulation.virtual_core import Workload
from treeroll.simulation.virtual_fleet import Market

WORKLOAD = Workload(1, Limits(4, 64, 5, 320), 100, LogNormal(150, 1.0), "level")
SLOTS = 4
CLUSTER = Cluster(
    8, SLOTS, SLOTS * WORKLOAD.longest, gpu_like(0.01, 64, 3e-5), Latency(0.01, 0.001, 25e-6), batch_trees=2
)
TERMS = Terms(least=2, most=8, stable_s=20.0, panic_s=3.0, shrink_delay_s=40.0, slots=SLOTS)
MARKET = Market(start_s=10.0, lost_per_hour=0.0)
PHASES = [Phase(60.0, 2), Phase(80.0, 12), Phase(120.0, 2)]


def simulation(market: Market = MARKET, terms: Terms | None = TERMS, size: int = 2) -> ElasticSimulation:
    return ElasticSimulation(CLUSTER, WORKLOAD, market, PHASES, size, terms)


async def test_a_fleet_grows_with_demand_and_shrinks_after_it_without_losing_a_token() -> None:
    simulated = simulation()
    figures = await simulated.run()
    assert (figures["lost_tokens"], figures["lost_replicas"]) == (0, 0)
    points = {point.at: point for point in simulated.course.points}
    assert points[55.0].wanted <= 4
    assert points[135.0].wanted >= 7
    assert points[135.0].ready == points[135.0].wanted
    assert points[255.0].wanted <= 4
    assert figures["drained_replicas"] >= 3
    assert figures["replica_hours"] < (await simulation(terms=None, size=8).run())["replica_hours"]
    assert all(TERMS.least <= point.wanted <= TERMS.most for point in simulated.course.points)


async def test_what_is_taken_away_is_replaced_and_what_it_ran_goes_on_elsewhere() -> None:
    simulated = simulation(replace(MARKET, lost_per_hour=60.0))
    figures = await simulated.run()
    assert figures["lost_replicas"] > 5
    assert 0 < figures["lost_percent"] < 20
    assert figures["trees"] > 30
    [pool] = simulated.core.pools
    assert pool.ends[LossKind.PREEMPTED] >= figures["lost_replicas"] - 1  # the last may not have been heard of
    assert pool.ends[LossKind.DIED] == 0


async def test_equal_seeds_have_equal_courses_and_others_have_others() -> None:
    market = replace(MARKET, lost_per_hour=30.0)
    first, again = simulation(market), simulation(market)
    figures = [await one.run() for one in (first, again)]
    assert first.course == again.course
    assert {**figures[0], "real_s": 0} == {**figures[1], "real_s": 0}
    other = ElasticSimulation(CLUSTER, replace(WORKLOAD, seed=2), market, PHASES, 2, TERMS)
    await other.run()
    assert other.course != first.course


async def test_the_bench_compares_with_a_fleet_of_the_largest_size_and_draws_the_course(tmp_path: Path) -> None:
    bench = ElasticBench(CLUSTER, WORKLOAD, MARKET, [2, 6, 2], 80.0, TERMS, tmp_path / "course.png")
    result = await bench.run(1, lambda line: None)
    law, fixed = result.rounds[LAW][0], result.rounds[FIXED][0]
    assert law["paid_utilisation"] > fixed["paid_utilisation"]
    assert fixed["decisions"] == 0
    assert (tmp_path / "course.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads(json.dumps(result.as_json()))["details"][LAW]
    assert len(told["decisions"]) == law["decisions"]
    assert {"at", "wanted", "ready", "demand", "utilisation"} == told["points"].keys()


@pytest.mark.parametrize("scale", [[], [4], [4, 0]])
def test_sizes_that_are_none_are_refused(scale: list[int]) -> None:
    with pytest.raises(InvalidInput, match="--scale names two or more sizes"):
        ElasticBench(CLUSTER, WORKLOAD, MARKET, scale, 300.0, TERMS)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--scale", "many"], "give numbers of replicas"),
        (["--scale", "4,8", "--trees", "20"], "leave out --trees"),
        (["--plot", "course.png"], "give --scale"),
    ],
)
def test_options_that_contradict_are_refused(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["bench", "simulate", *words]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert sentence in told

"""`treeroll bench simulate`: the same trees on many GPU replicas in virtual time, scheduled in several ways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, Variant, run_rounds
from treeroll.errors import InvalidInput
from treeroll.simulation.cluster import Cluster, Schedule, Simulation
from treeroll.simulation.virtual_core import Workload

SCHEDULES: Mapping[str, Schedule] = {
    "tree": Schedule(),
    "least_loaded": Schedule("least_loaded"),
    "round_robin": Schedule("round_robin"),
    "segments": Schedule(hold=True),
    "lockstep": Schedule(hold=True, barrier=True),
    "lockstep-refill": Schedule(hold=True, barrier=True, refill=True),
}
COLUMNS = (
    Column("utilisation", "utilisation", 3),
    Column("utilisation_before_drain", "undrained", 3),
    Column("makespan_s", "makespan s", 0),
    Column("bound_share", "of bound", 3),
    Column("recomputed_percent", "recomputed %", 1),
    Column("real_s", "real s", 0),
)
REMARKS = (
    "utilisation: busy slot-seconds / slot-seconds, from when 5 % of the trees have finished to when 95 % have.",
    "undrained: the same, but only until the last task is taken; from then on there is ever less to do.",
    "of bound: makespan of a perfect schedule / makespan. Perfect: all tokens on replicas that are always full and"
    " recompute nothing, or the longest path alone.",
    "recomputed: prefix tokens computed more than once, in % of the tokens generated.",
    "All variants grow the same trees: lengths are drawn by seed and position, not by schedule.",
)
# Trees grown beforehand to learn how many segments one has.
PILOT_TREES = 60


@dataclass(frozen=True, slots=True)
class SimulateBench:
    """One comparison. `trees` goes before `segments`, from which it is estimated otherwise."""

    cluster: Cluster
    workload: Workload
    round_trips_s: Sequence[float]
    segments: int
    trees: int | None = None
    variants: Sequence[str] = tuple(SCHEDULES)
    fitted: bool = False
    """The step model was measured; else it is an assumption."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.variants if name not in SCHEDULES]
        if unknown or not self.variants:
            raise InvalidInput(f"--variants has {unknown or 'nothing'}; there is {', '.join(SCHEDULES)}")

    async def run(self, rounds: int, note: Callable[[str], None]) -> Result:
        """Simulate every variant at every round trip. Rounds differ in their seed."""
        trees = self.trees or await self._trees()
        note(f"{trees:,} trees on {self.cluster.replicas:,} replicas")
        variants = {
            f"{name} {round_trip_s * 1e3:g}ms": self._variant(name, round_trip_s, trees)
            for round_trip_s in self.round_trips_s
            for name in self.variants
        }
        measured = await run_rounds(variants, rounds, note, warm_ups=0)
        return Result("simulate", self._parameters(trees), measured, COLUMNS, [*REMARKS, self._step_remark()])

    def _variant(self, name: str, round_trip_s: float, trees: int) -> Variant:
        latency = replace(self.cluster.latency, round_trip_s=round_trip_s)
        cluster = replace(self.cluster, latency=latency)

        async def simulate(number: int) -> Figures:
            workload = replace(self.workload, seed=number)
            return await Simulation(cluster, workload, trees, SCHEDULES[name]).run()

        return simulate

    async def _trees(self) -> int:
        pilot = Simulation(replace(self.cluster, replicas=1), self.workload, PILOT_TREES, SCHEDULES["tree"])
        found = await pilot.run()
        return max(1, round(self.segments * PILOT_TREES / found["segments"]))

    def _step_remark(self) -> str:
        steps = self.cluster.steps
        return (
            f"step model, {'fitted to vLLM here' if self.fitted else 'assumed'}: {steps.step_s * 1e3:.3g} ms for up to"
            f" {steps.knee} requests, {steps.per_request_s * 1e3:.3g} ms for each above;"
            f" {steps.prefill_token_s * 1e6:.3g} us per prefix token computed."
        )

    def _parameters(self, trees: int) -> dict[str, Any]:
        workload = asdict(self.workload)
        del workload["seed"]
        return {
            "trees": trees,
            "fitted": self.fitted,
            "round_trips_s": list(self.round_trips_s),
            "cluster": asdict(self.cluster),
            "workload": workload,
        }

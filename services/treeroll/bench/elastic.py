"""`treeroll bench simulate --scale`: replicas that come and go by the law of autoscaling, or all stay."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from treeroll.autoscale.terms import Terms
from treeroll.bench.claims.plots import DPI, check_matplotlib
from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, Variant, run_rounds
from treeroll.errors import InvalidInput
from treeroll.simulation.cluster import Cluster
from treeroll.simulation.elastic import Course, ElasticSimulation, Phase
from treeroll.simulation.virtual_core import Workload
from treeroll.simulation.virtual_fleet import Market

# Trees grown beforehand, for so many seconds, to learn how many branches one has.
PILOT_TREES, PILOT_S = 20, 300.0
LAW, FIXED = "autoscaled", "largest all the time"
COLUMNS = (
    Column("utilisation", "utilisation", 3),
    Column("paid_utilisation", "of paid", 3),
    Column("replica_hours", "replica h", 0),
    Column("tokens_per_replica_s", "tokens/replica s", 1, FIXED),
    Column("lost_percent", "tokens lost %", 3),
    Column("lost_replicas", "lost", 0),
    Column("drained_replicas", "drained", 0),
    Column("decisions", "decisions", 0),
    Column("turns", "turns", 0),
    Column("real_s", "real s", 0),
)
REMARKS = (
    "utilisation: busy slot-seconds / slot-seconds of ready replicas, from 2 minutes on; of paid: of all replicas,"
    " their starts and the beginning included.",
    "tokens lost: decoded on replicas that were taken away and not reported, in % of all that were decoded.",
    "turns: decisions that go the other way than the one before. One up and one down are wanted: one turn.",
)


@dataclass(frozen=True, slots=True)
class ElasticBench:
    """As many trees are wanted as keep the sizes of `scale` busy at the law's target, one after the other."""

    cluster: Cluster
    workload: Workload
    market: Market
    scale: Sequence[int]
    phase_s: float
    terms: Terms
    plot: Path | None = None

    def __post_init__(self) -> None:
        if len(self.scale) < 2 or min(self.scale) < 1:
            raise InvalidInput("--scale names two or more sizes, of one replica or more: such as 100,1000,100")
        if self.plot is not None:
            check_matplotlib()

    async def run(self, rounds: int, note: Callable[[str], None]) -> Result:
        """Simulate both. Rounds differ in their seed; the picture is of the first."""
        width = await self._width()
        per_tree = self.terms.target * self.cluster.slots / width
        phases = [Phase(self.phase_s, max(1, round(size * per_tree))) for size in self.scale]
        note(f"{width:.2f} branches for each tree: {', '.join(str(phase.trees) for phase in phases)} trees at a time")
        courses: dict[str, Course] = {}
        variants = {
            LAW: self._variant(LAW, phases, self.scale[0], self.terms, courses),
            FIXED: self._variant(FIXED, phases, max(self.scale), None, courses),
        }
        measured = await run_rounds(variants, rounds, note, warm_ups=0)
        if self.plot is not None:
            _draw(courses[LAW], self.plot)
            note(f"the picture is {self.plot}")
        details = {name: course.as_json() for name, course in courses.items()}
        return Result("simulate", self._parameters(phases), measured, COLUMNS, list(REMARKS), details)

    def _variant(
        self, name: str, phases: Sequence[Phase], size: int, terms: Terms | None, courses: dict[str, Course]
    ) -> Variant:
        async def simulate(number: int) -> Figures:
            workload = replace(self.workload, seed=number)
            simulation = ElasticSimulation(self.cluster, workload, self.market, phases, size, terms)
            figures = await simulation.run()
            courses.setdefault(name, simulation.course)
            return figures

        return simulate

    async def _width(self) -> float:
        """Mean branches of a tree that grows, in a fleet with room for all."""
        phases = [Phase(PILOT_S, PILOT_TREES)]
        market = replace(self.market, lost_per_hour=0.0)
        size = PILOT_TREES * self.workload.limits.leaves // self.cluster.slots + 1
        pilot = ElasticSimulation(self.cluster, self.workload, market, phases, size, None)
        await pilot.run()
        return pilot.mean_width

    def _parameters(self, phases: Sequence[Phase]) -> dict[str, Any]:
        workload = asdict(self.workload)
        del workload["seed"]
        return {
            "scale": list(self.scale),
            "phases": [asdict(phase) for phase in phases],
            "market": asdict(self.market),
            "terms": asdict(self.terms),
            "cluster": asdict(self.cluster),
            "workload": workload,
        }


def _draw(course: Course, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.2), dpi=DPI, layout="constrained")
    sizes, share = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    minutes = [point.at / 60 for point in course.points]
    sizes.plot(
        minutes, [point.demand for point in course.points], label="demand / target", color="#bbbbbb", linewidth=1
    )
    sizes.step(minutes, [point.wanted for point in course.points], label="wanted", color="#4c78a8", where="post")
    sizes.plot(minutes, [point.ready for point in course.points], label="ready", color="#f58518", linewidth=1)
    for rule, marker in zip(sorted({one.rule for one in course.decisions}), "ov^sDPX*", strict=False):
        made = [one for one in course.decisions if one.rule is rule]
        at, wanted = [one.at / 60 for one in made], [one.desired for one in made]
        sizes.plot(at, wanted, marker, label=f"decided: {rule}", markersize=4, linestyle="none", alpha=0.7)
    sizes.set_ylabel("replicas")
    sizes.legend(frameon=False, fontsize=8)
    share.plot(minutes, [point.utilisation for point in course.points], color="#4c78a8", linewidth=1)
    share.set_ylabel("slots in use")
    share.set_ylim(0, 1.02)
    share.set_xlabel("minutes")
    for axes in (sizes, share):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)

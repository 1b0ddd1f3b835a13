"""What consumers of a pool's trees can take, from how far they came and when weights were published."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from treeroll.autoscale.consumption import Trainer
from treeroll.coordinator.loop import Coordinator
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import Run, RunState
from treeroll.core.model.weights import Phase
from treeroll.pb.v1 import watch_pb2 as watch

# Rates are of so many seconds at most, and at least.
LONGEST_S, SHORTEST_S = 900.0, 60.0
P99 = 0.99

Group = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Look:
    """A pool and its consumers at one moment."""

    at: float
    replicas: int
    acknowledged: dict[Group, int]
    ended: int
    """Trees, of which without a sample:"""
    useless: int


class ConsumersRate:
    """Of one pool. It says something only while trees wait for every consumer: one that waits for trees might take any
    number."""

    def __init__(self, coordinator: Coordinator, pool: Pool) -> None:
        self._coordinator, self._pool = coordinator, pool
        self._looks: deque[_Look] = deque()

    def look(self, at: float, groups: Iterable[watch.GroupFigures], replicas: int) -> tuple[Trainer, int] | None:
        """The trainer that all consumers are together, and with how many replicas its trees were made; None: they may
        want more than they get, or it is not known for long enough. `at`: seconds on the clock of `now`."""
        runs = self._runs()
        waiting = {(one.run_id, one.group): one for one in groups if one.run_id in runs}
        if not runs or {run_id for run_id, _ in waiting} != runs.keys() or not all(g.waiting for g in waiting.values()):
            self._looks.clear()
            return None
        looks = self._looks
        if looks and looks[-1].acknowledged.keys() != waiting.keys():
            looks.clear()
        ended = sum(run.finished + run.failed + run.filtered.total() for run in runs.values())
        useless = ended - sum(run.finished for run in runs.values())
        looks.append(_Look(at, replicas, {key: one.acknowledged for key, one in waiting.items()}, ended, useless))
        while looks[0].at < at - LONGEST_S:
            looks.popleft()
        if at - looks[0].at < SHORTEST_S:
            return None
        return self._trainer(runs, {key: one.waiting for key, one in waiting.items()})

    def _runs(self) -> dict[str, Run]:
        """Those that somebody may consume; none where some of their trees may grow elsewhere."""
        found = {}
        for run_id, run in self._coordinator.state.runs.items():
            if self._pool.name in run.spec.models and (run.state is RunState.OPEN or run.growing or run.waiting):
                if len(run.spec.models) > 1:
                    return {}
                found[run_id] = run
        return found

    def _trainer(self, runs: dict[str, Run], waiting: dict[Group, int]) -> tuple[Trainer, int] | None:
        first, last = self._looks[0], self._looks[-1]
        seconds = last.at - first.at
        taken = {key: last.acknowledged[key] - first.acknowledged[key] for key in waiting}
        per_s = sum(max(n for (of, _), n in taken.items() if of == run_id) for run_id in runs) / seconds
        ended = last.ended - first.ended
        if per_s <= 0.0 or ended <= 0:
            return None
        step_s, flip_s = self._publications(first.at)
        bounds = [run.spec.staleness.versions for run in runs.values() if run.spec.staleness is not None]
        replicas = round(sum(look.replicas for look in self._looks) / len(self._looks))
        trainer = Trainer(
            step_s=step_s or 1.0,
            trees=per_s * (step_s or 1.0),
            rate=ended / seconds,
            flip_s=flip_s,
            latency_s=_quantile(self._coordinator.figures.tree_s.get(self._pool.name, ()), P99),
            queued=sum(max(n for (of, _), n in waiting.items() if of == run_id) for run_id in runs),
            waste=(last.useless - first.useless) / ended,
            staleness=min(bounds) if bounds and step_s else None,
        )
        return trainer, replicas

    def _publications(self, since: float) -> tuple[float | None, float]:
        """Seconds from one to the next, None without two of them; and what the last one took until all had it."""
        done = [one for one in self._pool.weights.history if one.phase is Phase.DONE and one.started >= since]
        gaps = [later.started - earlier.started for earlier, later in pairwise(done)]
        return (sum(gaps) / len(gaps) if gaps else None), (done[-1].seconds if done else 0.0)


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

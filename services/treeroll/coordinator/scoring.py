"""Leaves and judged paths on their way through the scorer pool and back into the loop."""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from treeroll import clock
from treeroll.coordinator.figures import Histogram
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.core.model.events import LeafScored, PathJudged
from treeroll.core.model.live_tree import LiveTree
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.split import path_text
from treeroll.scorers.base import ErrorKind, ScoreCounts, ScoreItem, ScoreRequest, ScoreResult, ScoringService
from treeroll.tree.node import NodeStatus

log = logging.getLogger(__name__)

# Paths scored by one call to the pool; larger batches would make a slow scorer delay its neighbours.
BATCH = 64
# Calls to the pool at the same time.
PARALLEL = 8
SCORE_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)


@dataclass(slots=True)
class ScorerFigures:
    """What one scorer, or judge, has done so far."""

    counts: ScoreCounts = field(default_factory=ScoreCounts)
    seconds: Histogram = field(default_factory=lambda: Histogram(SCORE_S))
    error: str = ""
    """The latest."""


class Scoring:
    """Collects leaves, and nodes where paths are held to be judged; scores them in batches, posts the outcomes."""

    def __init__(self, scorers: ScoringService, timeout_of: dict[str, float]) -> None:
        self._scorers = scorers
        self._timeout_of = timeout_of  # run_id -> seconds per path
        # Bounded by the number of nodes of live trees, which admission bounds.
        self._waiting: asyncio.Queue[tuple[LiveTree, int]] = asyncio.Queue()
        self.figures: dict[str, ScorerFigures] = {}
        """By the names that runs give their scorers and judges."""

    def add(self, live: LiveTree, node: int) -> None:
        """A node is durable and waits for its reward, or for the judge if it is no leaf."""
        self._waiting.put_nowait((live, node))

    @property
    def waiting(self) -> int:
        """Paths that no scorer has been given."""
        return self._waiting.qsize()

    async def run(self, coordinator: Coordinator) -> None:
        """Score until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(PARALLEL):
                group.create_task(self._work(coordinator))

    async def _work(self, coordinator: Coordinator) -> None:
        while True:
            waiting = [await self._waiting.get()]
            while not self._waiting.empty() and len(waiting) < BATCH:
                waiting.append(self._waiting.get_nowait())
            by_timeout: dict[float, list[tuple[LiveTree, int]]] = {}
            for live, node in waiting:
                by_timeout.setdefault(self._timeout_of[live.run.spec.run_id], []).append((live, node))
            for timeout_s, batch in by_timeout.items():
                await self._score(coordinator, batch, timeout_s)

    async def _score(self, coordinator: Coordinator, batch: list[tuple[LiveTree, int]], timeout_s: float) -> None:
        paths = [[step.number for step in live.tree.lineage(node)] for live, node in batch]
        wanted = [(live.tree_id, path) for (live, _), path in zip(batch, paths, strict=True)]
        stored = await coordinator.read(lambda: coordinator.store.load_nodes(wanted))
        good, requests = [], []
        for (live, node), blobs in zip(batch, stored, strict=True):
            try:
                requests.append(request_of(live, node, path_text([pb.Node.FromString(blob) for blob in blobs])))
            except Exception as error:  # whatever it is, the other paths have no part in it
                log.exception("a path of tree %s cannot be scored", live.tree_id)
                await _post(coordinator, live, node, None, f"the path cannot be read: {_said(error)}", False)
            else:
                good.append((live, node))
        handed_at = clock.monotonic()
        try:
            results = await self._scorers.score(requests, timeout_s) if requests else []
        except Exception as error:  # nor have the other batches a part in this one
            log.exception("%d paths cannot be scored", len(requests))
            self._count(requests, [ScoreResult.failed(ErrorKind.RAISED, _said(error))] * len(requests), handed_at)
            for live, node in good:
                await _post(coordinator, live, node, None, f"the scorers failed: {_said(error)}", False)
            return
        self._count(requests, results, handed_at)
        failed = [result.error for result in results if result.kind is not None]
        if failed:
            log.warning("%d of %d paths have no score: %s", len(failed), len(results), failed[0])
        for (live, node), result in zip(good, results, strict=True):
            await _post(coordinator, live, node, result.value, result.error, result.abstained)

    def _count(self, requests: Sequence[ScoreRequest], results: Sequence[ScoreResult], handed_at: float) -> None:
        seconds = clock.monotonic() - handed_at
        for name in {request.scorer for request in requests}:
            self.figures.setdefault(name, ScorerFigures()).seconds.add(seconds)
        for request, result in zip(requests, results, strict=True):
            figures = self.figures[request.scorer]
            figures.counts.add(result)
            if result.kind is not None:
                figures.error = result.error


async def _post(
    coordinator: Coordinator, live: LiveTree, node: int, value: float | None, error: str, abstained: bool
) -> None:
    kind = LeafScored if _is_leaf(live, node) else PathJudged
    await coordinator.post(Item([kind(live.tree_id, node, value, error, abstained)]))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def request_of(live: LiveTree, node: int, completion: str) -> ScoreRequest:
    """What a scorer sees of a leaf, or a judge of a path."""
    task, spec = live.task, live.run.spec
    scorer = spec.scorer if _is_leaf(live, node) else spec.judge
    item = ScoreItem(task.prompt_text, completion, task.answer, json.loads(task.extra_json))
    return ScoreRequest(f"{live.tree_id}:{node}", scorer or "", item)


def _is_leaf(live: LiveTree, node: int) -> bool:
    return live.tree.nodes[node].status is NodeStatus.LEAF

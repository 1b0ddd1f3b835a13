"""Where the consumer groups of runs stand, looked at now and then."""

from collections.abc import Iterable

from treeroll import clock
from treeroll.core.model.run import Run
from treeroll.pb.v1 import watch_pb2 as watch
from treeroll.store.base import GroupState, Store

EVERY_S = 5.0


class WatchedGroups:
    """Of some runs of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.figures: list[watch.GroupFigures] = []
        self.at = 0.0
        """When they were looked at, seconds since the Unix epoch."""
        self._looked_at: float | None = None
        # Run and group -> how many trees it had acknowledged, and since when no more while some wait.
        self._progress: dict[tuple[str, str], tuple[int, float]] = {}

    async def look(self, runs: Iterable[Run]) -> None:
        """Look at the groups of these runs, if the last look is long ago. StoreError."""
        now = clock.monotonic()
        if self._looked_at is not None and now - self._looked_at < EVERY_S:
            return
        self._looked_at = now
        found, progress = [], {}
        for run_id in [run.spec.run_id for run in runs]:
            for group in await self._store.group_names(run_id):
                state = await self._store.group_state(run_id, group)
                stuck_since = progress[run_id, group] = self._since(run_id, group, state)
                found.append(
                    watch.GroupFigures(
                        run_id=run_id,
                        group=group,
                        acknowledged=state.acknowledged,
                        leased=state.leased,
                        waiting=state.waiting,
                        stuck_s=now - stuck_since[1],
                    )
                )
        self.figures, self._progress, self.at = found, progress, clock.wall()

    def _since(self, run_id: str, group: str, state: GroupState) -> tuple[int, float]:
        known = self._progress.get((run_id, group))
        if known is None or not state.waiting or state.acknowledged != known[0]:
            return state.acknowledged, self._looked_at or 0.0
        return known

"""LiveSource: a service's store, of one that runs or has run. The service itself is never asked."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from treeroll import __version__
from treeroll.dashboard.decisions import DecisionQuery
from treeroll.dashboard.happenings import HappeningQuery
from treeroll.dashboard.poller import Look, Poller
from treeroll.dashboard.query import TaskQuery, TreeQuery
from treeroll.dashboard.shape import Shape
from treeroll.dashboard.sources.base import Json
from treeroll.dashboard.sources.decision_log import DecisionLog
from treeroll.dashboard.sources.live_trees import LiveTrees
from treeroll.dashboard.sources.plain import plain
from treeroll.dashboard.sources.state import history, run_line, state
from treeroll.dashboard.sources.store_reader import StoreReader, Unacknowledged
from treeroll.dashboard.sources.tree_tables import Shapes, TreeTables
from treeroll.errors import UnknownRun
from treeroll.metrics.metric import StoreFigures
from treeroll.metrics.render import render
from treeroll.metrics.targets import targets
from treeroll.pb.v1 import rollout_pb2 as pb

# A tree that grows is read again after so long.
TREE_AGAIN_S = 1.0
# Unacknowledged trees of a group that are told of.
UNACKNOWLEDGED = 50
# Trees that are kept whole.
TREES = 4

_INFO = (
    "redis_version",
    "uptime_in_seconds",
    "used_memory",
    "maxmemory",
    "maxmemory_policy",
    "evicted_keys",
    "connected_clients",
    "instantaneous_ops_per_sec",
    "aof_enabled",
    "aof_current_size",
    "aof_rewrite_in_progress",
    "aof_delayed_fsync",
    "aof_last_write_status",
    "rdb_last_bgsave_status",
    "role",
)


class LiveSource:
    """Pages are answered from the memory of a poller; trees are read when they are looked at."""

    kind = "live"

    def __init__(self, url: str, scenario: str = "", lesson: str = "") -> None:
        """`scenario`: what is played in it, if that is no service of people's, and what is wrong there. InvalidInput
        for a URL that is none. A store that does not answer is told on the pages."""
        self._scenario, self._lesson = scenario, lesson
        self._reader = StoreReader(url)
        self._poller = Poller(self._reader)
        self._trees = LiveTrees(self._poller, self._run_ids)
        self._decisions = DecisionLog(self._poller)
        self._shapes = Shapes()
        self._told: tuple[Look, Json] | None = None
        self._tables: dict[str, tuple[float, TreeTables]] = {}
        self._poller.start()

    def close(self) -> None:
        """Stop reading."""
        self._poller.stop()

    def about(self) -> Json:
        """What this is."""
        look = self._poller.look
        last = look.latest
        return {
            "kind": self.kind,
            "name": self._scenario or self._reader.address,
            "scenario": bool(self._scenario),
            "lesson": self._lesson,
            "pages": ["overview", "replicas", "runs", "trees", "feed", "store", "events", "about"],
            "version": __version__,
            "versions": {
                "service": last.version if last is not None else "",
                "redis": look.info.get("redis_version", ""),
            },
            "trees": None,
            "record": None,
            "complete": None,
            "host": last.host if last is not None else "",
            "pid": last.pid if last is not None else None,
            "durability": last.durability if last is not None else "",
        }

    def as_of(self) -> tuple[float, int | None]:
        """When the service last said how it was."""
        last = self._poller.look.latest
        return (time.time(), None) if last is None else (last.at, last.epoch)

    def live(self) -> tuple[int, Json]:
        """The state of now."""
        look, told = self._poller.look, self._told
        if told is None or told[0] is not look:
            told = self._told = look, state(look)
        return look.turn, told[1]

    def history(self) -> Json:
        """The last quarter of an hour."""
        found = history(self._poller.look)
        since = found["at"][0] if found["at"] else time.time()
        return {**found, "events": self._poller.happenings.incidents(since)}

    def metrics(self) -> bytes:
        """What the service last said, and what the store says of itself."""
        look = self._poller.look
        names = ("used_memory", "maxmemory", "evicted_keys", "aof_delayed_fsync")
        return render(look.latest, None, StoreFigures(not look.error, *(int(look.info.get(name, 0)) for name in names)))

    def targets(self) -> list[Json]:
        """The replicas that answer Prometheus themselves."""
        return targets(self._poller.look.latest)

    def events(self, query: HappeningQuery) -> Json:
        """What happened."""
        return self._poller.happenings.page(query)

    def decisions(self, query: DecisionQuery) -> Json:
        """What was decided."""
        return self._decisions.page(query)

    def runs(self) -> list[Json]:
        """All runs, the newest last."""
        records = self._poller.ask(self._reader.runs())
        runs = sorted((pb.Run.FromString(record) for record in records.values()), key=lambda run: run.created)
        fresh = {run.run_id: run for run in self._fresh()}
        return [self._line(fresh.get(run.run_id, run), run) for run in runs]

    def run(self, run_id: str) -> Json:
        """One with configuration and figures."""
        raw = self._poller.ask(self._reader.run(run_id))
        if raw is None:
            raise UnknownRun(f"the store at {self._reader.address} has no run {run_id}")
        stored = pb.Run.FromString(raw)
        run = next((run for run in self._fresh() if run.run_id == run_id), stored)
        config = json.loads(stored.config_json) if stored.config_json else {}
        figures = (
            "cached_tokens",
            "recomputed_tokens",
            "fork_recomputed_tokens",
            "forks",
            "fork_requests",
            "regrants",
            "lost_tokens_max",
            "late_tokens",
            "dropped_tokens",
            "pruned_tokens",
            "censored_tokens",
            "effective_leaves",
            "reward_errors",
            "engine_errors",
            "policy_errors",
        )
        return {
            **self._line(run, stored),
            "config": config,
            "policies": {},
            "summary": {},
            "figures": {name: getattr(run, name) for name in figures},
            "ledger": plain(run.ledger),
            "engine_error": run.engine_error,
            "policy_error": run.policy_error,
            "quarantined": list(run.quarantined),
            "failures": [],
            "created": stored.created,
        }

    def tasks(self, query: TaskQuery) -> Json:
        """A page of them."""
        if self._poller.ask(self._reader.run(query.run)) is None:
            raise UnknownRun(f"the store at {self._reader.address} has no run {query.run}")
        self._trees.refresh()
        return {**self._trees.index.tasks(query), "behind": self._trees.behind}

    def trees(self, query: TreeQuery) -> Json:
        """A page of the list."""
        self._trees.refresh()
        page = self._trees.index.page(query)
        page["items"] = [{**row, "replicas": json.loads(row["replicas"])} for row in page["items"]]
        names = ("status", "stop_reason", "model", "run_id")
        page["filters"] = {name: self._trees.index.values(name) for name in names}
        page["behind"] = self._trees.behind
        return page

    def tree(self, tree_id: str) -> Json:
        """The header, as of now."""
        return self._tree(tree_id, again=True).header(self.shape(tree_id))

    def export(self, tree_id: str) -> Iterator[bytes]:
        """The tree as a file."""
        tables = self._tree(tree_id, again=True)
        return tables.export(self._decisions.of_tree(tree_id))

    def shape(self, tree_id: str) -> Shape:
        """The nodes as of the header that was asked for last."""
        tables = self._tree(tree_id)
        return self._shapes.get(tables, tables.shape)

    def nodes(self, tree_id: str, numbers: Sequence[int], *, whole: bool = False) -> list[Json]:
        """Nodes by number."""
        return self._tree(tree_id).nodes(numbers, whole=whole)

    def find(self, tree_id: str, wanted: str) -> Json:
        """Where a text is."""
        return self._tree(tree_id).find(self.shape(tree_id), wanted)

    def path(self, tree_id: str, number: int, *, whole: bool = False) -> list[Json]:
        """The nodes above one, and itself."""
        return self._tree(tree_id).path(self.shape(tree_id), number, whole=whole)

    def feed(self) -> Json:
        """The groups of runs."""
        last = self._poller.look.latest
        groups = [] if last is None else [plain(group) for group in last.groups]
        runs = [] if last is None else [run_line(run) for run in last.runs]
        return {"groups": groups, "runs": runs, "groups_at": None if last is None else last.groups_at}

    def group(self, run_id: str, group: str) -> Json:
        """What trees wait for that a group has not acknowledged, the oldest first."""
        found = self._poller.ask(self._reader.unacknowledged(run_id, group, UNACKNOWLEDGED))
        if found is None:
            raise UnknownRun(f"the store at {self._reader.address} has no group {group} of a run {run_id}")
        return {"items": [{**asdict(one), "waits_for": _waits_for(one)} for one in found]}

    def store(self) -> Json:
        """Figures of Redis, and of commits."""
        look = self._poller.look
        info = {name: look.info[name] for name in _INFO if name in look.info}
        return {"address": self._reader.address, "error": look.error, "info": info, "keys": look.keys}

    def _tree(self, tree_id: str, *, again: bool = False) -> TreeTables:
        kept = self._tables.get(tree_id)
        if kept is not None and not (again and time.monotonic() - kept[0] > TREE_AGAIN_S):
            return kept[1]
        tables = self._trees.tables(tree_id)
        self._tables.pop(tree_id, None)
        self._tables[tree_id] = (time.monotonic(), tables)
        while len(self._tables) > TREES:
            self._tables.pop(next(iter(self._tables)), None)
        return tables

    def _run_ids(self) -> list[str]:
        return list(self._poller.ask(self._reader.runs()))

    def _fresh(self) -> list[pb.Run]:
        last = self._poller.look.latest
        return [] if last is None else list(last.runs)

    def _line(self, run: pb.Run, stored: pb.Run) -> Json:
        config = json.loads(stored.config_json) if stored.config_json else {}
        return {
            **run_line(run),
            "recipe": config.get("recipe", ""),
            "model": config.get("model") or "",
            "engine": "",
            "mean_reward": None,
            "mean_reward_se": None,
            "wall_s": None,
        }


def _waits_for(one: Unacknowledged) -> str:
    if not one.deliveries:
        return "for the group to ask for it"
    if one.left_s is None:
        return f"for {one.consumer} to acknowledge it"
    if one.left_s == float("inf"):
        return "for all ranks to acknowledge its global batch"
    if one.left_s > 0:
        return f"for {one.consumer} to acknowledge it"
    return "for the group to ask again: its lease has ended, or it was given back"

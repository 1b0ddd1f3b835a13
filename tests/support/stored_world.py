"""A simulated world with a store: what its core says must be durable is kept, and a new core goes on from there."""

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from treeroll.coordinator.pool_models import restored as restored_model
from treeroll.coordinator.pool_models import stored as stored_model
from treeroll.coordinator.records import stored_run
from treeroll.coordinator.restored_runs import restored_run
from treeroll.core.invariants import violations
from treeroll.core.model.effects import (
    Effect,
    EmitTree,
    PersistAnew,
    PersistEntry,
    PersistMemory,
    PersistModel,
    PersistNode,
    PersistReward,
    PersistRun,
    PersistTasks,
    PersistTree,
)
from treeroll.core.model.events import Event, RunClosed, RunCreated, TasksSubmitted
from treeroll.core.model.journal import Carried, Entry, Planted
from treeroll.core.model.run import Run, RunSpec, RunState, TaskSpec
from treeroll.core.model.state import State
from treeroll.core.recovery.memories import restore
from treeroll.core.recovery.rebuild import Rebuilt, rebuild
from treeroll.core.recovery.remains import NodeRemains, RunRemains, TreeRemains
from treeroll.core.scheduling.assign import assign
from treeroll.core.step import step
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.simulation.language import stored, text_of
from treeroll.simulation.world import World


class Crash(Exception):
    """The coordinator dies here."""


class StoredWorld(World):
    """Keeps what is to be durable, one commit a step. `crash_at`: dies between two effects, or a commit and them."""

    crash_at: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.records: dict[str, bytes] = {}
        self.tasks_of: dict[str, dict[str, TaskSpec]] = {}
        self.histories: dict[str, list[NodeRemains | Entry]] = {}
        self.rewards: dict[str, dict[int, float | None]] = {}
        self.memories: dict[str, dict[str, str]] = {}
        self.models: dict[str, bytes] = {}
        self.fed: list[str] = []
        self.effects = 0
        self.crashes = 0

    def _feed(self, event: Event) -> None:
        self._commit_and_perform(step(self.state, event, self.now))

    def _commit_and_perform(self, effects: list[Effect]) -> None:
        self._count()  # before the commit: nothing of this step is durable
        for effect in effects:
            self._keep(effect)
        for run in self.state.runs.values():
            if any(_run_of(effect) is run for effect in effects):
                self.records[run.spec.run_id] = stored_run(run)
        for effect in effects:
            self._count()
            self._perform(effect)
        self._audit()

    def _perform(self, effect: Effect) -> None:
        if not isinstance(effect, EmitTree):  # whether a tree has ended is for the store to say
            super()._perform(effect)

    def _count(self) -> None:
        if self.effects == self.crash_at:
            self.crash_at = None
            raise Crash
        self.effects += 1

    def _keep(self, effect: Effect) -> None:
        match effect:
            case PersistTasks(run=run, tasks=tasks):
                self.tasks_of.setdefault(run.spec.run_id, {}).update({task.tree_id: task for task in tasks})
            case PersistNode(live=live, node=node):
                self.stored.setdefault(live.tree_id, {})[node.number] = stored(effect.report.payload, node)
                self.histories[live.tree_id].append(self._node(effect))
            case PersistEntry(live=live):
                self.histories.setdefault(live.tree_id, []).append(effect.entry)
            case PersistMemory(run=run):
                self.memories.setdefault(run.spec.run_id, {})[effect.part] = effect.value
            case PersistModel(pool=pool):
                self.models[pool.name] = stored_model(pool)
            case PersistAnew(task=task):
                self.histories[task.tree_id], self.rewards[task.tree_id] = [effect.entry], {}
            case PersistReward(live=live) if effect.node in live.tree.leaves:
                self.rewards.setdefault(live.tree_id, {})[effect.node] = effect.value
            case EmitTree(live=live):
                assert live.tree_id not in self.fed, f"{live.tree_id} ended twice"
                self.fed.append(live.tree_id)
                self.finished[live.tree_id] = live
                self.histories.pop(live.tree_id, None)

    def _node(self, effect: PersistNode) -> NodeRemains:
        """What the store's records tell of a node."""
        node, report, parts = effect.node, effect.report, effect.node.content
        before, behind = (part.text if part else "" for part in (parts.inserted, parts.observation))
        parent = effect.live.tree.nodes[node.parent]
        cut = None
        if report.cuts:
            tokens = self.stored[effect.live.tree_id][node.parent].tokens[: node.token_start - parent.token_start]
            cut = len("".join(map(text_of, tokens)))
        bare = structs.replace(report, grant=0, text="", tail="")
        return NodeRemains(
            node.parent, node.sibling_index, node.token_start, node.n_tokens, node.depth, node.status,
            node.stop_reason, node.origin.attempt, bare, before + report.text + behind, len(behind), cut,
        )  # fmt: skip

    def remains(self) -> list[RunRemains]:
        """What a coordinator that starts would find."""
        specs = {spec.run_id: spec for spec in self._specs()}
        return [self._run_remains(specs[run_id], record) for run_id, record in self.records.items()]

    def _run_remains(self, spec: RunSpec, record: bytes) -> RunRemains:
        tasks = self.tasks_of.get(spec.run_id, {})
        index = {task.key: (task.tree_id, task.digest) for task in tasks.values()}
        run = restored_run(api.Run.FromString(record), spec, index)
        restore(run, self.memories.get(spec.run_id, {}))
        open_ = [task for task in tasks.values() if task.tree_id not in self.fed]
        trees = {task.tree_id: self.tree_remains(task, run) for task in open_}
        waiting = [task for task in open_ if trees[task.tree_id] is None]
        growing = [tree for tree in trees.values() if tree is not None]
        left = [task.number for task in tasks.values() if task.tree_id in self.fed]
        return RunRemains(run, waiting, growing, (), left)

    def tree_remains(self, task: TaskSpec, run: Run | None = None) -> TreeRemains | None:
        """A tree that has started."""
        history = list(self.histories.get(task.tree_id, ()))
        carried = history.pop(0) if history and isinstance(history[0], Carried) else Carried(0)
        if not history:
            if run is not None and carried.tokens:
                run.carried[task.tree_id] = carried.tokens
            return None
        planted = history.pop(0)
        assert isinstance(planted, Planted)
        rewards: Mapping[int, float | None] = self.rewards.get(task.tree_id, {})
        return TreeRemains(task, planted, history, rewards, carried.tokens)

    def recover(self) -> Rebuilt:
        """Another coordinator, with nothing but the store; replicas come back as their next lives."""
        self.crashes += 1
        state = State(self.state.settings, next_grant=self.crashes << 40)
        state.now = self.now
        for name, pool in self.state.pools.items():
            state.pools[name].weights = pool.weights
            if (record := self.models.get(name)) is not None:
                state.pools[name].model = restored_model(record)
        rebuilt = rebuild(state, self.remains())
        self.state = state
        self.queue = [due for due in self.queue if isinstance(due[2], tuple)]
        self.dropped.clear()
        self.serving.clear()
        self.kept.clear()
        self._commit_and_perform([*rebuilt.effects, *assign(state)])
        return rebuilt

    def restart(self) -> Rebuilt:
        """Another coordinator goes on. Replicas come as their next lives, and clients ask again for all they want."""
        rebuilt = self.recover()
        for name in self.incarnation:
            self._join(name)
        for spec in self._specs():
            name = "" if spec.route else spec.models[0]
            tasks = [self._task(i, e, name) for e in range(self.epochs) for i in range(self.tasks)]
            self._feed(RunCreated(spec))
            if self.state.runs[spec.run_id].state is RunState.OPEN:
                self._feed(TasksSubmitted(spec.run_id, tasks))
                self._feed(RunClosed(spec.run_id))
        return rebuilt

    def _audit(self) -> None:
        found = violations(self.state)
        if found:
            raise AssertionError(found)


def _run_of(effect: Any) -> Run | None:
    """The run whose record a commit writes with the effect, see `coordinator/persist.py`."""
    if isinstance(effect, PersistRun | PersistTasks | PersistAnew):
        return effect.run
    if isinstance(effect, PersistNode | PersistEntry | PersistReward | PersistTree):
        return effect.live.run
    return None

"""One tick's effects as one commit."""

from treeroll.coordinator import journal_records, pool_models, records, weight_records
from treeroll.coordinator.session_marks import lost_record
from treeroll.core.model.effects import (
    DropReplica,
    Effect,
    EmitTree,
    PersistAnew,
    PersistEntry,
    PersistHistory,
    PersistMemory,
    PersistModel,
    PersistNode,
    PersistReward,
    PersistRun,
    PersistTasks,
    PersistTree,
    PersistWeights,
)
from treeroll.core.model.run import Run, TaskSpec
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.store.base import Commit


class CommitBuilder:
    """Turns effects into stored records. Knows what every header says about tokenizer and logprobs."""

    def __init__(self, tokenizer_hash: str, logprobs_mode: str) -> None:
        self.tokenizer_hash = tokenizer_hash
        self.logprobs_mode = logprobs_mode

    def build(self, effects: list[Effect]) -> Commit:  # noqa: C901  # one case an effect
        """Everything in the effects that must be durable before any of them is carried out."""
        commit = Commit()
        touched: dict[str, Run] = {}
        for effect in effects:
            match effect:
                case PersistNode():
                    tree = effect.live.tree
                    row = effect.node.number, records.node_record(effect)
                    if tree.tree_id in commit.nodes:
                        commit.nodes[tree.tree_id].append(row)
                    else:
                        commit.nodes[tree.tree_id] = [row]
                        touched[effect.live.run.spec.run_id] = effect.live.run
                case PersistEntry(live=live):
                    entry = journal_records.entry_record(effect.entry, effect.nodes)
                    commit.journal.setdefault(live.tree_id, []).append(entry)
                    touched[live.run.spec.run_id] = live.run
                case PersistAnew(run=run, task=task):
                    commit.anew.append(task.tree_id)
                    commit.nodes[task.tree_id] = [(0, records.root_record(task))]
                    commit.journal[task.tree_id] = [journal_records.entry_record(effect.entry, 1)]
                    touched[run.spec.run_id] = run
                case PersistReward(live=live):
                    self._reward(commit, effect)
                    touched[live.run.spec.run_id] = live.run
                case PersistTree(live=live):
                    header = records.final_header(live, self._header(live.run, live.task))
                    commit.trees[live.tree_id] = header.SerializeToString()
                    touched[live.run.spec.run_id] = live.run
                case EmitTree(live=live):
                    commit.feed.append((live.run.spec.run_id, live.tree_id))
                case PersistHistory(run=run):
                    commit.history.setdefault(run.spec.run_id, {})[effect.task_id] = effect.record
                case PersistMemory(run=run):
                    commit.memory.setdefault(run.spec.run_id, {})[effect.part] = effect.value
                case PersistTasks(run=run, tasks=tasks):
                    self._tasks(commit, run, tasks)
                    touched[run.spec.run_id] = run
                case PersistRun(run=run):
                    touched[run.spec.run_id] = run
                case PersistWeights(pool=pool):
                    commit.weights[pool.name] = weight_records.stored(pool)
                case PersistModel(pool=pool):
                    commit.models[pool.name] = pool_models.stored(pool)
                case DropReplica():
                    commit.sessions[effect.replica_id] = lost_record(effect.incarnation)
        for run_id, run in touched.items():
            commit.runs[run_id] = records.stored_run(run)
        return commit

    def _header(self, run: Run, task: TaskSpec) -> pb.Tree:
        return records.task_header(run, task, self.tokenizer_hash, self.logprobs_mode)

    def _tasks(self, commit: Commit, run: Run, tasks: list[TaskSpec]) -> None:
        index = commit.tasks.setdefault(run.spec.run_id, {})
        for task in tasks:
            index[task.key] = (task.tree_id, task.digest)
            commit.trees[task.tree_id] = self._header(run, task).SerializeToString()
            commit.nodes[task.tree_id] = [(0, records.root_record(task))]

    def _reward(self, commit: Commit, effect: PersistReward) -> None:
        key = records.reward_key(effect.node, effect.scorer, 1)
        row = records.reward_record(effect.scorer, 1, effect.value, effect.error)
        commit.rewards.setdefault(effect.live.tree_id, {})[key] = row

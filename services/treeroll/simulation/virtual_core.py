"""The real core over virtual replicas. Everything that the simulator knows of the core's insides is in this file."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from treeroll.autoscale.law import Signal
from treeroll.core.model.branch import BranchState, Outcome
from treeroll.core.model.effects import Effect, EmitTree, PersistNode, StartBranch, StopBranch
from treeroll.core.model.events import (
    EndKind,
    LossKind,
    ReplicaDraining,
    ReplicaJoined,
    ReplicaLost,
    RunClosed,
    RunCreated,
    SegmentReported,
    TasksSubmitted,
)
from treeroll.core.model.fleet import Drain
from treeroll.core.model.live_tree import TreeStatus
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import RunSpec, TaskSpec
from treeroll.core.model.state import CoreSettings, State
from treeroll.core.scheduling.assign import assign
from treeroll.core.scheduling.prospects import startable
from treeroll.core.step import apply
from treeroll.errors import BrokenInvariant
from treeroll.invariants import Invariant
from treeroll.policies import registry
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.sampling import Sampling
from treeroll.simulation.lengths import LogNormal, path_ends
from treeroll.simulation.virtual_kv import Span
from treeroll.simulation.virtual_replica import Request
from treeroll.tree.rng import randint

RUN = "run"
RUN_AHEAD = 2
INCARNATION = 1
# Prompts come in this many lengths, so that boundaries and hazards are worked out once for each.
PROMPT_LENGTHS = 16


@dataclass(frozen=True, slots=True)
class Workload:
    """What is grown. Equal workloads give equal trees under every placement, schedule and latency."""

    seed: int
    limits: Limits
    prompt_tokens: int
    """Mean; prompts have half to one and a half times as many."""
    lengths: LogNormal
    sync: str
    block_size: int = 16

    @property
    def longest(self) -> int:
        """Most tokens a sequence can have."""
        return self.prompt_tokens * 3 // 2 + self.limits.max_tokens

    def tasks(self, numbers: Sequence[int]) -> list[TaskSpec]:
        """Tasks by number."""
        prompts = [struct.pack(f"<{tokens}i", *[0] * tokens) for tokens in self._prompt_lengths()]
        return [
            TaskSpec(f"{n}", 0, f"tree-{n}", prompts[randint(0, len(prompts) - 1, self.seed, n)], "", "", None)
            for n in numbers
        ]

    def spec(self, hold: bool) -> RunSpec:
        """The run: the treepo recipe, with the paths' ends as the engine reports them."""
        overrides: dict[str, dict[str, object]] = {
            "segment": {"hold": hold},
            "branch": {"sync": self.sync},
            "prune": {"boxed": "off"},
        }
        policies = build_policies("treepo", self.limits, overrides)
        return RunSpec(
            RUN, "{}", self.seed, self.limits.max_tokens, Sampling(), policies.segment, policies.branch,
            policies.prune, policies.advantage,
        )  # fmt: skip

    def _prompt_lengths(self) -> list[int]:
        low, high = max(1, self.prompt_tokens // 2), max(1, self.prompt_tokens * 3 // 2)
        step = max(1, (high - low) // (PROMPT_LENGTHS - 1))
        return list(range(low, high + 1, step))


@dataclass(slots=True)
class Orders:
    """What the core wants of replicas: requests to start, and grants to stop with their replica."""

    starts: list[Request] = field(default_factory=list)
    stops: list[tuple[str, int]] = field(default_factory=list)


@dataclass(slots=True)
class Grown:
    """The trees that have ended."""

    trees: int = 0
    leaves: int = 0
    segments: int = 0
    tokens: int = 0
    longest_path: int = 0
    prompt_tokens: int = 0
    """Tokens of all trees that have to be prefilled at least once."""


Report = tuple[float, Request, Span | None, int | None, EndKind | None, int]
"""When it arrives, the request, its segment's tokens, prefix tokens found in KV, how it ended, and tokens dropped."""


class VirtualCore:
    """One core state, its one run, and the spans that its nodes are."""

    def __init__(self, workload: Workload, placement: str, hold: bool, grown: Grown, live_trees: int | None) -> None:
        """`grown` may be shared with other cores. `live_trees`: most trees that grow at once; None: one per slot."""
        place = registry.build("placement", placement, {}, workload.limits)
        self._grown = grown
        self._workload = workload
        self._state = State(CoreSettings(place, run_ahead=RUN_AHEAD, live_trees=live_trees))
        self._spec = workload.spec(hold)
        self._spans: dict[str, list[Span]] = {}  # tree -> span of each node
        self._hazards: dict[int, list[float]] = {}  # by tokens of the prompt
        self._event = SegmentReported("", INCARNATION, 0, 0)  # for all reports: the core keeps none
        self._between: list[Effect] = []  # of what happened since the last tick
        apply(self._state, RunCreated(self._spec), 0.0)

    @property
    def live(self) -> int:
        """Trees that grow or wait."""
        return len(self._state.trees) + self.waiting

    @property
    def waiting(self) -> int:
        """Tasks that no tree grows from yet."""
        return self._state.waiting_tasks

    @property
    def expired(self) -> int:
        """Grants that ended at a boundary: held there, or without credit."""
        outcomes = [pool.outcomes for pool in self._state.pools.values()]
        return sum(ended[Outcome.CREDIT] + ended[Outcome.HELD] for ended in outcomes)

    @property
    def pools(self) -> list[Pool]:
        """The only one."""
        return list(self._state.pools.values())

    @property
    def unfinished_tokens(self) -> int:
        """Of trees that grow, in segments that were reported."""
        return sum(span.tokens for _, *spans in self._spans.values() for span in spans)

    def join(self, name: str, slots: int, now: float = 0.0) -> None:
        """A replica says Hello. No name is ever that of another one."""
        workload = self._workload
        joined = ReplicaJoined(name, INCARNATION, slots, workload.block_size, workload.longest)
        self._between += apply(self._state, joined, now)

    def drain(self, name: str, now: float, within_s: float) -> None:
        """It is to end, and gets no more branches."""
        event = ReplicaDraining(name, INCARNATION, Drain(now + within_s, "its pool shrinks"))
        self._between += apply(self._state, event, now)

    def lose(self, name: str, now: float, kind: LossKind) -> None:
        """It is gone; what it ran goes on elsewhere."""
        self._between += apply(self._state, ReplicaLost(name, INCARNATION, kind.value, kind), now)

    def branches_of(self, name: str) -> int:
        """How many it was granted."""
        return len(self._state.replicas[name].grants)

    def least_first(self) -> list[str]:
        """Replicas by the tokens of their branches, as `Elastic` names them to a fleet."""
        state = self._state
        tokens = {
            name: sum(state.grants[grant][1].total for grant in replica.grants)
            for name, replica in state.replicas.items()
        }
        return sorted(tokens, key=lambda name: (tokens[name], name))

    def signal(self, now: float, size: int) -> Signal:
        """What the law is told; `size`: replicas that there are to be. KV caches here hold whatever slots do."""
        state = self._state
        [pool] = state.pools.values()
        queues = [pool.anywhere, *(replica.queue for replica in pool.members)]
        return Signal(
            now,
            size,
            live=len(state.grants),
            waiting=sum(entry[-1].state is BranchState.PENDING for queue in queues for entry in queue.heap),
            tasks=startable(state, pool),
            trees=len(state.trees),
            open_runs=1,
            slots=sum(replica.slots for replica in pool.members),
            replicas=len(pool.members),
        )

    def submit(self, tasks: list[TaskSpec]) -> None:
        """A client adds tasks."""
        apply(self._state, TasksSubmitted(RUN, tasks), self._state.now)

    def close(self) -> None:
        """No more tasks will come."""
        apply(self._state, RunClosed(RUN), 0.0)

    def tick(self, now: float, reports: Sequence[Report]) -> Orders:
        """Apply reports in order, then let free slots be filled."""
        orders, state, event = Orders(), self._state, self._event
        if self._between:
            between, self._between = self._between, []
            self._carry_out(between, orders)
        for _, request, span, cached, end, dropped in reports:
            event.replica_id, event.grant, event.end = request.replica, request.grant, end
            event.n_tokens = 0 if span is None else span.tokens
            event.cached_tokens, event.dropped_tokens = cached, dropped
            effects = apply(state, event, now)
            if effects and span is not None and isinstance(first := effects[0], PersistNode):
                spans = request.spans
                if first.node.number != len(spans):
                    raise BrokenInvariant(
                        Invariant.TREE_WELL_FORMED, f"node {first.node.number} follows {len(spans)} others"
                    )
                spans.append(span)
                if len(effects) == 1:
                    continue
            self._carry_out(effects, orders)
        self._carry_out(assign(state), orders)
        return orders

    def _carry_out(self, effects: list[Effect], orders: Orders) -> None:
        for effect in effects:
            if isinstance(effect, StartBranch):
                orders.starts.append(self._request(effect))
            elif isinstance(effect, StopBranch):
                orders.stops.append((effect.replica_id, effect.grant))
            elif isinstance(effect, EmitTree):
                self._end_tree(effect)

    def _end_tree(self, effect: EmitTree) -> None:
        live = effect.live
        if live.status is not TreeStatus.COMPLETE:
            raise BrokenInvariant(Invariant.FORK_BLIND, f"tree {live.tree_id} ended as {live.status}: {live.error}")
        prompt, *spans = self._spans.pop(live.tree_id)
        grown = self._grown
        grown.trees += 1
        grown.leaves += len(live.tree.leaves)
        grown.segments += len(spans)
        grown.tokens += sum(span.tokens for span in spans)
        grown.longest_path = max(grown.longest_path, max(span.total for span in spans) - prompt.total)
        grown.prompt_tokens += prompt.tokens

    def _request(self, effect: StartBranch) -> Request:
        _, branch = self._state.grants[effect.grant]
        spans = self._spans.get(effect.tree_id)
        if spans is None:
            spans = self._spans[effect.tree_id] = [Span(None, effect.prompt_tokens)]
        hazards = self._hazards.get(effect.prompt_tokens)
        if hazards is None:
            hazards = self._hazards[effect.prompt_tokens] = self._work_out(effect.prompt_tokens)
        tip, boundaries = spans[branch.tip], effect.boundaries
        most = 1 if effect.hold else len(boundaries)
        ends, by_itself = path_ends(effect.seed, boundaries, hazards, tip.total, most)
        end = EndKind.EOS if by_itself else EndKind.LENGTH if len(ends) == len(boundaries) else EndKind.HOLD
        return Request(effect.replica_id, effect.grant, tip, spans, ends, end, effect.priority)

    def _work_out(self, prompt_tokens: int) -> list[float]:
        workload = self._workload
        ends = self._spec.segment.boundaries(prompt_tokens, workload.block_size, workload.longest)
        return workload.lengths.hazards([end - prompt_tokens for end in ends])

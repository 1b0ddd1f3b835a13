"""A world for the pure core: replicas that generate from (seed, position), a clock, and faults, all from one seed.

Nothing here sleeps or opens a socket. Time is a number; whichever pending thing has the smallest due time happens next.
Paths have the same tokens in every world, whatever its fleet, so trees of equal policies can be compared.
"""

import heapq
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from treeroll.core.invariants import violations
from treeroll.core.model.budget import STOP_LAG_TOKENS, Budget
from treeroll.core.model.effects import (
    DrainReplica,
    DropReplica,
    Effect,
    EmitTree,
    FlipWeights,
    ForgetTree,
    JudgePath,
    PersistNode,
    ScoreLeaf,
    StageWeights,
    StartBranch,
    StopBranch,
)
from treeroll.core.model.events import (
    AlarmRang,
    EndKind,
    Event,
    LeafScored,
    LossKind,
    PathJudged,
    ReplicaDraining,
    ReplicaJoined,
    ReplicaLost,
    RunClosed,
    RunCreated,
    SegmentReported,
    TasksSubmitted,
    Ticked,
    WeightsPublished,
    WeightsReported,
)
from treeroll.core.model.fleet import Drain
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import RunSpec, StalenessBound, TaskSpec
from treeroll.core.model.state import CoreSettings, State
from treeroll.core.model.weights import OnUpdate
from treeroll.core.step import alarm, step
from treeroll.policies import registry
from treeroll.policies.policies import Policies
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.policy.route import RoutePolicy
from treeroll.sampling import Sampling
from treeroll.simulation.language import (
    EOS,
    NOTHING,
    Payload,
    encode,
    logprob_of,
    observe,
    read_tokens,
    stored,
    text_of,
    token_at,
)
from treeroll.simulation.serving import Serving
from treeroll.simulation.virtual_weights import VirtualWeights
from treeroll.tree.rng import hash64, uniform
from treeroll.tree.tree import TAIL_CHARS

BLOCK = 16
PROMPT_TOKENS = 20
SEGMENT_TOKENS = 32
MODEL_LEN = 4096

# A replica by name and incarnation, and a grant of it.
Incarnation = tuple[str, int]
Due = tuple[Incarnation, int]


@dataclass
class World:
    """Core, replicas and network.

    `policies`, with `limits`, go before `recipe`, `leaves`, `max_depth` and `overrides`. `resample_after` changes every
    token beyond that depth, and none up to it; only where segments end by length. Where `overruns`, engines that are
    told to stop decode on for as long as they may. `pools` has the number of replicas of each model that has a name, in
    place of `replicas`; there is then a run for each of them, or with a `route` one run for all. Models that the branch
    policy names have `replicas` each. Replicas take published weights after a while; the tokens stay the same. One that
    drains has up to `drain_s` seconds, and its successor comes that long after it has gone.
    """

    seed: int = 0
    replicas: int = 2
    slots: int = 4
    end_share: float = 0.01
    recipe: str = "treepo"
    leaves: int = 8
    max_depth: int = 6
    overrides: dict[str, dict[str, object]] = field(default_factory=dict)
    budget_tokens: int | None = None
    budget: Budget | None = None
    placement: str = "parent_affinity"
    kill_share: float = 0.0
    drain_share: float = 0.0
    drain_s: float = 4.0
    max_losses: int = 1000
    tasks: int = 5
    epochs: int = 1
    policies: Policies | None = None
    limits: Limits | None = None
    resample_after: int | None = None
    overruns: bool = False
    pools: Mapping[str, int] | None = None
    route: RoutePolicy | None = None
    on_update: OnUpdate = OnUpdate.CONTINUE
    staleness: StalenessBound | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(f"world-{self.seed}-{self.replicas}-{self.slots}")  # noqa: S311 - a simulation
        limits = self.limits or Limits(self.leaves, SEGMENT_TOKENS, self.max_depth, SEGMENT_TOKENS * self.max_depth)
        place = registry.build("placement", self.placement, {}, limits)
        policies = self.policies or build_policies(self.recipe, limits, self.overrides)
        pools = {"": self.replicas} if self.pools is None else self.pools
        pools = {**dict.fromkeys(policies.branch.needs.models, self.replicas), **pools}
        self.state = State(
            CoreSettings(
                place, tuple(pools), max_losses=self.max_losses,
                read_tokens=read_tokens, observe=observe, encode=encode,
            )
        )  # fmt: skip
        self.now = 0.0
        self.queue: list[tuple[float, int, Event | Due]] = []
        self.count = 0
        self.serving: dict[Incarnation, dict[int, Serving]] = {}
        self.pool_of = {f"{name or 'r'}{i}": name for name, count in pools.items() for i in range(count)}
        self.incarnation = dict.fromkeys(self.pool_of, 0)
        self.finished: dict[str, LiveTree] = {}
        # Of each stored node, by tree; and what each incarnation keeps: tree -> grant -> total tokens.
        self.stored: dict[str, dict[int, Payload]] = {}
        self.kept: dict[Incarnation, dict[str, dict[int, int]]] = {}
        self.weights = VirtualWeights(self.random, self.later)
        self.dropped: list[str] = []  # replicas that the core has given up, to be started anew
        self.drained: set[Incarnation] = set()  # told to end
        self.spec = RunSpec(
            "run", "{}", 7, limits.max_tokens, Sampling(), policies.segment, policies.branch, policies.prune,
            policies.advantage, scorer="exact", budget=self.budget or Budget(self.budget_tokens),
            judge="exact" if policies.branch.needs.judge else None, on_update=self.on_update, staleness=self.staleness,
        )  # fmt: skip
        longest = min(MODEL_LEN, PROMPT_TOKENS + limits.max_tokens)
        totals = [PROMPT_TOKENS, *policies.segment.boundaries(PROMPT_TOKENS, BLOCK, longest)]
        after = self.resample_after
        self.resampled_from = None if after is None else totals[min(after, len(totals) - 1)]

    def run(self) -> dict[str, LiveTree]:
        """Grow every task to its end; checks all invariants after every step."""
        self.start()
        while self.go_on():
            if self.kill_share and self.random.random() < self.kill_share:
                self.kill(self.random.choice(sorted(self.incarnation)))
            if self.drain_share and self.random.random() < self.drain_share:
                self.drain(self.random.choice(sorted(self.incarnation)), self.random.uniform(0.0, self.drain_s))
        self._feed(Ticked())
        return self.finished

    def start(self) -> None:
        """The replicas join, and the run, or each pool's, gets all its tasks."""
        for name in self.incarnation:
            self._join(name)
        for spec in self._specs():
            name = "" if spec.route else spec.models[0]
            tasks = [self._task(i, e, name) for e in range(self.epochs) for i in range(self.tasks)]
            self._feed(RunCreated(spec))
            self._feed(TasksSubmitted(spec.run_id, tasks))
            self._feed(RunClosed(spec.run_id))

    def _specs(self) -> list[RunSpec]:
        if self.route is not None:
            return [replace(self.spec, models=tuple(self.state.pools), route=self.route)]
        return [replace(self.spec, run_id=f"run-{name}", models=(name,)) for name in self.pools or ()] or [self.spec]

    def go_on(self) -> bool:
        """The next thing happens, or the core's alarm rings; False if there is neither."""
        while self.dropped:
            self._join(self.dropped.pop())
        rings_at = alarm(self.state)
        if self.queue and (rings_at is None or self.queue[0][0] <= rings_at):
            self.now, _, what = heapq.heappop(self.queue)
            self._happen(what)
            return True
        if rings_at is not None:
            self.now = max(self.now, rings_at)
            self._feed(AlarmRang())
        return rings_at is not None

    def _task(self, number: int, epoch: int, pool: str = "") -> TaskSpec:
        ids = (hash64("prompt", number, i) % 40 for i in range(PROMPT_TOKENS))
        prompt = struct.pack(f"<{PROMPT_TOKENS}i", *ids)
        tree_id = f"{pool}tree{number}" + (f"-{epoch}" if epoch else "")
        return TaskSpec(f"t{number}", epoch, tree_id, prompt, "", "d", "x")

    def _join(self, name: str) -> None:
        self.incarnation[name] += 1
        self.serving[name, self.incarnation[name]] = {}
        self.kept[name, self.incarnation[name]] = {}
        self.weights.joined((name, self.incarnation[name]))
        new, pool = self.incarnation[name], self.pool_of[name]
        self._feed(ReplicaJoined(name, new, self.slots, BLOCK, MODEL_LEN, model=pool))

    def kill(self, name: str) -> None:
        old = self.incarnation[name]
        self.serving.pop((name, old), None)
        self.kept.pop((name, old), None)
        self._feed(ReplicaLost(name, old, "killed"))
        self._join(name)

    def drain(self, name: str, within_s: float, preempted: bool = False) -> None:
        """A replica is to end."""
        drain = Drain(self.now + within_s, "its node goes", preempted)
        self._feed(ReplicaDraining(name, self.incarnation[name], drain))

    def publish(self, version: int, pool: str = "") -> None:
        """A trainer has new weights."""
        self._feed(WeightsPublished(pool, version, f"/weights/{version}"))

    def later(self, what: Event | Due, seconds: float) -> None:
        """Something will happen, so many seconds from now."""
        self.count += 1
        heapq.heappush(self.queue, (self.now + seconds, self.count, what))

    def _feed(self, event: Event) -> None:
        for effect in step(self.state, event, self.now):
            self._perform(effect)
        self._audit()

    def _audit(self) -> None:
        found = violations(self.state)
        if found:
            raise AssertionError(found)

    def _perform(self, effect: Effect) -> None:  # noqa: C901  # one case an effect
        match effect:
            case StartBranch():
                key = effect.replica_id, self.incarnation[effect.replica_id]
                self._check_prefix(key, effect)
                serving = Serving(effect, self.kept[key][effect.tree_id][effect.grant], self._tail(effect))
                self.serving[key][effect.grant] = serving
                self.later((key, effect.grant), self.random.expovariate(1.0))
            case StopBranch():
                key = effect.replica_id, self.incarnation[effect.replica_id]
                if effect.grant in self.serving.get(key, {}):
                    self.serving[key][effect.grant].stopped = True
            case ScoreLeaf(live=live, node=node):
                self.later(LeafScored(live.tree_id, node, self._reward(live, node)), self.random.expovariate(10.0))
            case JudgePath(live=live, node=node):
                self.later(PathJudged(live.tree_id, node, self.value(live, node)), self.random.expovariate(10.0))
            case DropReplica(replica_id=name, incarnation=incarnation):
                if self.serving.pop((name, incarnation), None) is not None:
                    self.kept.pop((name, incarnation))
                    if (name, incarnation) in self.drained:
                        comes = ReplicaJoined(name, 0, self.slots, BLOCK, MODEL_LEN)
                        self.later(comes, self.random.uniform(0.0, self.drain_s))
                    else:
                        self.dropped.append(name)
            case DrainReplica(replica_id=name, incarnation=incarnation):
                self.drained.add((name, incarnation))
                self._leave_if_done((name, incarnation))
            case StageWeights() | FlipWeights():
                self.weights.order(effect)
            case PersistNode(live=live, node=added):
                self.weights.made(effect)
                self.stored.setdefault(live.tree_id, {})[added.number] = stored(effect.report.payload, added)
            case ForgetTree():
                self.kept.get((effect.replica_id, effect.incarnation), {}).pop(effect.tree_id, None)
            case EmitTree(live=live):
                if live.tree_id in self.finished:
                    raise AssertionError(f"{live.tree_id} ended twice")
                self.finished[live.tree_id] = live

    def _reward(self, live: LiveTree, node: int) -> float | None:
        """Half of the leaves succeed, and one scorer in twenty fails; by path, and by tokens that were resampled."""
        resampled = self.resampled_from is not None and live.tree.nodes[node].total > self.resampled_from
        draw = uniform(hash64(*map(str, live.tree.path(node))), "reward", str(resampled))
        return None if draw >= 0.95 else float(draw < 0.5)

    def value(self, live: LiveTree, node: int) -> float | None:
        """Any number from 0 to 1 by path, and one judge in twenty fails."""
        draw = uniform(hash64(*map(str, live.tree.path(node))), "value")
        return None if draw >= 0.95 else draw / 0.95

    def _check_prefix(self, key: Incarnation, start: StartBranch) -> None:
        """The prefix can be had: from what the replica, of the branch's pool, keeps, or from prompt and store."""
        if start.model != self.pool_of[start.replica_id]:
            raise AssertionError(f"grant {start.grant} of pool {start.model!r} starts on {start.replica_id}")
        loaded, current = self.weights.loaded[key], self.state.pools[start.model].weights.current.version
        if loaded != current:
            raise AssertionError(f"grant {start.grant} starts on weights {loaded}, {current} are in force")
        kept = self.kept[key].setdefault(start.tree_id, {})
        if start.prefix_grant:
            if kept[start.prefix_grant] < start.prefix_tokens - len(start.prefix_ids) // 4:
                raise AssertionError(f"grant {start.grant} begins beyond the end of grant {start.prefix_grant}")
        else:
            stored, tokens = self.stored.get(start.tree_id, {}), len(start.prefix_ids) // 4
            for part in (stored[number] for number in start.stored):
                if part.start > tokens:
                    raise AssertionError(f"grant {start.grant} lacks tokens {tokens} to {part.start} of its prefix")
                tokens = part.start + len(part.tokens)
            if tokens < start.prefix_tokens or (tokens > start.prefix_tokens and not start.cut_from):
                raise AssertionError(f"grant {start.grant} has a prefix of {tokens} tokens, not {start.prefix_tokens}")
        kept[start.grant] = start.prefix_tokens + (start.inserted or NOTHING).n_tokens

    def _tail(self, start: StartBranch) -> str:
        """The end of the completion before a branch, as its replica has it."""
        live, branch = self.state.grants[start.grant]
        stored, number, total, tail = self.stored.get(start.tree_id, {}), branch.tip, branch.total, ""
        while number and len(tail) < TAIL_CHARS:
            part = stored[number]
            tail = "".join(map(text_of, part.tokens[: total - part.start])) + tail
            number, total = live.tree.nodes[number].parent, part.start
        return tail[-TAIL_CHARS:]

    def _happen(self, what: Event | Due) -> None:
        if not isinstance(what, tuple):
            if isinstance(what, ReplicaJoined):  # unless it was killed meanwhile, which starts it, too
                if what.replica_id not in self.state.replicas:
                    self._join(what.replica_id)
                return
            if isinstance(what, WeightsReported):
                self.weights.happens(what)
            self._feed(what)
            return
        key, grant = what
        serving = self.serving.get(key, {}).get(grant)
        if serving is not None:
            self._feed(self.segment(key, serving))
            self._leave_if_done(key)

    def _leave_if_done(self, key: Incarnation) -> None:
        """One that drains says goodbye when nothing runs on it."""
        if key in self.drained and self.serving.get(key) == {}:
            self.later(ReplicaLost(*key, "it said goodbye", LossKind.LEFT), 0.01)

    def segment(self, key: Incarnation, serving: Serving) -> SegmentReported:
        """Decode to the next boundary, or be stopped on the way there."""
        start = serving.start
        limit = start.boundaries[serving.boundary]
        if serving.stopped:
            dropped = self.random.randint(0, limit - serving.total) + STOP_LAG_TOKENS * self.overruns
            del self.serving[key][start.grant]
            return SegmentReported(*key, start.grant, 0, end=EndKind.STOPPED, dropped_tokens=dropped)
        tokens: list[int] = []
        delimited = serving.delimiter_test()
        while serving.total + len(tokens) < limit and (not tokens or (tokens[-1] != EOS and not delimited(tokens[-1]))):
            tokens.append(self._token(start.seed, serving.total + len(tokens)))
        first = serving.boundary == 0
        cached = serving.total - 1 if first else None
        serving.total += len(tokens)
        self.kept[key][start.tree_id][start.grant] = serving.total
        serving.boundary += 1
        end = serving.end(tokens[-1], self.random.random)
        if end is None:
            self.later((key, start.grant), self.random.expovariate(1.0))
        else:
            del self.serving[key][start.grant]
        text = "".join(text_of(token) for token in tokens)
        logprobs = list(map(logprob_of, tokens))
        return SegmentReported(
            *key, start.grant, len(tokens), sum(logprobs), min(logprobs), text, serving.tail if first else "",
            payload=Payload(serving.total - len(tokens), tokens, text),
            cached_tokens=cached, end=end, cuts=first and start.cut_from > 0,
        )  # fmt: skip

    def _token(self, seed: int, position: int) -> int:
        resampled = self.resampled_from is not None and position >= self.resampled_from
        return token_at(hash64(seed, "resampled") if resampled else seed, position, self.end_share)


def fingerprint(world: World) -> list[tuple[object, ...]]:
    """Everything about the ended trees that must not depend on time or place, one row per node, by tree and path."""
    rows: list[tuple[object, ...]] = []
    for name, live in sorted(world.finished.items()):
        for node in live.tree.nodes:
            reward = live.tree.rewards.get(node.number)
            rows.append((
                name, live.tree.path(node.number), node.depth, node.token_start,
                world.stored[name][node.number].tokens if node.number else (), node.status.value,
                node.stop_reason.value, node.branch_reason.value, node.decision.value, node.group, reward,
                live.status.value, node.temperature, node.model,
            ))  # fmt: skip
    return sorted(rows, key=lambda row: row[:2])

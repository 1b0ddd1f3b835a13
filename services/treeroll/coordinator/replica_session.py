"""One replica incarnation as the coordinator sees it: what it has reported, and what it must be told."""

import asyncio
import logging
from dataclasses import asdict, dataclass, field

from treeroll import clock
from treeroll.coordinator.admission import node_of
from treeroll.coordinator.figures import COUNTS_AGAINST
from treeroll.core.model.effects import (
    Command,
    DrainReplica,
    DropReplica,
    FlipWeights,
    ForgetTree,
    StageWeights,
    StartBranch,
    StopBranch,
)
from treeroll.core.model.fleet import Drain
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.sampling import Sampling
from treeroll.sparing_log import Sparing

log = logging.getLogger(__name__)
log.addFilter(Sparing())

# Prefixes in one message; far below the limit of a message, so that the last one always fits.
MESSAGE_BYTES = 4 << 20


@dataclass(slots=True)
class ReplicaSession:
    """One replica incarnation: what it has told us and what it must be told."""

    hello: wire.Hello
    # Last report handed to the loop / last one durable.
    seen_seq: int = 0
    acked_seq: int = 0
    last_heard: float = 0.0
    heartbeat: wire.Heartbeat = field(default_factory=wire.Heartbeat)
    reported_tokens: int = 0
    starts: list[wire.StartBranch] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)
    # Trees, in order: to be forgotten behind the starts that wait, and before they are applied.
    forgets: dict[str, None] = field(default_factory=dict)
    forgets_first: list[str] = field(default_factory=list)
    weights: list[StageWeights | FlipWeights] = field(default_factory=list)
    drain: Drain | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    faulted: bool = False  # it reported what cannot be: nothing more is taken from it
    lost: str = ""  # why it lost its lease
    superseded: bool = False  # for a newer life of the replica came
    calls: int = 0  # calls that have served it; only the newest one may

    def start(self, command: wire.StartBranch) -> None:
        """Queue the start of a branch for the next message."""
        if command.tree_id in self.forgets:  # what is to be forgotten of the tree is from before
            del self.forgets[command.tree_id]
            self.forgets_first.append(command.tree_id)
        self.starts.append(command)
        self.wake.set()

    def send(self, command: Command) -> None:
        """Queue a command for the next message."""
        if isinstance(command, StopBranch):
            self.stops.append(command.grant)
        elif isinstance(command, ForgetTree):
            self.forgets[command.tree_id] = None
        elif isinstance(command, StageWeights | FlipWeights):
            self.weights.append(command)
        elif isinstance(command, DrainReplica):
            self.drain = command.drain
        self.wake.set()

    def restart(self) -> None:
        """A new call: what was queued for the broken one is made anew from what the replica says it has."""
        self.starts, self.stops, self.forgets, self.forgets_first, self.weights = [], [], {}, [], []
        self.drain = None
        self.heard()

    def drop(self, lost: DropReplica) -> None:
        """It lost its lease: its call must end."""
        self.lost, self.superseded = lost.cause, lost.superseded
        who = f"replica {lost.replica_id} incarnation {lost.incarnation} on {node_of(self.hello)}"
        if lost.kind in COUNTS_AGAINST:
            silent_s = clock.monotonic() - self.last_heard
            log.warning("%s lost its lease, %.1f s after it was heard last: %s", who, silent_s, lost.cause)
        else:
            log.info("%s has gone (%s): %s", who, lost.kind, lost.cause)
        self.wake.set()

    def acknowledge(self, seq: int) -> None:
        """Reports up to seq are durable."""
        self.acked_seq = max(self.acked_seq, seq)
        self.wake.set()

    def heard(self) -> None:
        """The replica spoke."""
        self.last_heard = clock.monotonic()

    def next_commands(self) -> wire.Commands:
        """What was decided since the last message, as far as one message should hold."""
        self.wake.clear()
        commands = wire.Commands(acked_seq=self.acked_seq)
        if self.forgets_first:  # replicas forget after they have started what a message starts: that is for the next
            commands.forget_trees.extend(self.forgets_first)
            self.forgets_first = []
            self.wake.set()
            return commands
        if self.starts:
            self._add_starts(commands)
        if self.stops:
            # Stops are applied before starts: one for a branch in this or a later message must wait for the next.
            late = {start.grant for start in commands.starts} | {start.grant for start in self.starts}
            commands.stops.extend(wire.StopBranch(grant=grant) for grant in self.stops if grant not in late)
            self.stops = [grant for grant in self.stops if grant in late]
        if self.forgets and not self.starts:  # a start that waits may still name a sequence
            commands.forget_trees.extend(self.forgets)
            self.forgets = {}
        if self.weights and not self.stops:  # branches that must end do so before their weights change
            _add_weights(commands, self.weights.pop(0))
        if self.drain is not None and not self.starts:  # it would be gone before they came
            commands.draining.CopyFrom(_draining(self.drain))
            self.drain = None
        if self.starts or self.stops or self.weights:
            self.wake.set()
        return commands

    def _add_starts(self, commands: wire.Commands) -> None:
        size = taken = 0
        while taken < len(self.starts) and size < MESSAGE_BYTES:
            size += len(self.starts[taken].prefix_ids)
            taken += 1
        commands.starts.extend(self.starts[:taken])
        del self.starts[:taken]


def _draining(drain: Drain) -> wire.Draining:
    within_s = max(0.0, drain.deadline - clock.monotonic())
    return wire.Draining(within_s=within_s, cause=drain.cause, preempted=drain.preempted)


def _add_weights(commands: wire.Commands, order: StageWeights | FlipWeights) -> None:
    if isinstance(order, FlipWeights):
        commands.flip_weights.CopyFrom(wire.FlipWeights(version=order.version, recompute=order.recompute))
        return
    weights = order.weights
    told = wire.StageWeights(version=weights.version, path=weights.path, digest=weights.digest)
    commands.stage_weights.CopyFrom(told)


def start_command(effect: StartBranch, sampling: wire.Sampling) -> wire.StartBranch:
    """An order to start one engine request; `sampling` is its run's."""
    delimiter = None
    if (wanted := effect.delimiter) is not None:
        delimiter = wire.Delimiter(texts=wanted.texts, token_ids=wanted.token_ids)
    command = wire.StartBranch(
        grant=effect.grant,
        prefix_tokens=effect.prefix_tokens,
        cut_from=effect.cut_from,
        prefix_grant=effect.prefix_grant,
        prefix_ids=effect.prefix_ids,
        prefix_tail=effect.prefix_tail,
        prompt_tokens=effect.prompt_tokens,
        boundaries=effect.boundaries,
        max_total=effect.boundaries[-1],
        hold=effect.hold,
        sampling=sampling,
        seed=effect.seed,
        priority=effect.priority,
        tree_id=effect.tree_id,
        delimiter=delimiter,
        branch=effect.branch,
        attempt=effect.attempt,
    )
    if (inserted := effect.inserted) is not None:
        command.inserted_ids, command.inserted_text = inserted.ids, inserted.text
    if effect.temperature is not None:
        command.sampling.temperature = effect.temperature
    return command


def sampling_command(sampling: Sampling, eos_token_ids: list[int]) -> wire.Sampling:
    """Sampling settings as a replica takes them; its model's sequences end with `eos_token_ids`."""
    return wire.Sampling(**asdict(sampling.ending_with(eos_token_ids)))

"""Figures of a service, a run and an audit, as plain dataclasses."""

import json
from dataclasses import dataclass, field, fields
from typing import Any

from google.protobuf.message import Message

from treeroll.client.records import Ledger
from treeroll.pb.v1 import common_pb2, rollout_pb2


@dataclass(slots=True)
class EngineStatus:
    """Engine and model of the fleet."""

    engine: str
    engine_version: str
    model: str
    block_size: int
    """KV block, tokens."""
    max_model_len: int
    """Longest prompt plus completion, tokens."""
    slots: int
    kv_tokens: int
    logprobs_mode: str


@dataclass(slots=True)
class Origin:
    """What a replica is made of."""

    version: str
    """Of treeroll."""
    host: str
    model_digest: str
    """Of the model as it was started with, 16 hex digits; "" for an engine without a model's directory."""
    software: dict[str, str]
    """Versions of "python", and of "torch", "vllm" and "ray" where they are installed."""
    gpus: list[str]
    """Of its engine, each by its id on the host and its name."""
    metrics: str
    """URL at which it answers Prometheus; "" for nowhere."""


@dataclass(slots=True)
class ReplicaStatus:
    """One replica as the coordinator sees it."""

    replica_id: str
    incarnation: int
    state: str
    """"joining", "ready", "suspect", "quarantined", "draining" or "lost": docs/failures.md says what each means."""
    branches: int
    slots: int
    generated_tokens: int
    kv_usage: float
    """0..1."""
    silent_s: float
    restarts: int
    pool: str
    """The pool that it is of; "" in a service of one model without a name."""
    reason: str
    """Why it is suspect, quarantined, to end or lost, as a sentence."""
    retry_s: float
    """Seconds until one that is quarantined is tried again."""
    origin: Origin


@dataclass(slots=True)
class PoolStatus:
    """The replicas of one model."""

    name: str
    """The name by which runs ask for the model; "" in a service of one model without a name."""
    engine: EngineStatus | None
    """None until its first replica is ready."""
    replicas: int
    """Replicas that are ready."""
    slots: int
    branches: int
    """Branches that run on its replicas."""
    waiting_branches: int
    """Branches that wait for one of its slots."""
    live_trees: int
    stop_token_ids: list[int]
    """Ids that end a text of its model; none: its paths run to max_tokens."""
    wanted: int | None = None
    """Replicas that fleets are to have; None: nobody says how many."""
    draining: int = 0
    """Those of `replicas` that are to end."""
    not_scheduled: int = 0
    """Replicas that wait for a node."""
    not_scheduled_because: str = ""
    """What one of them needs, and what the cluster has, as a sentence."""
    desired: int | None = None
    """Replicas that its demand asks for; None: their number does not follow it."""
    desired_because: str = ""
    """Why so many, with the figures that this follows from."""


@dataclass(slots=True)
class ServiceStatus:
    """The service at a glance."""

    epoch: int
    version: str
    tokenizer_hash: str
    durability: str
    store: str
    live_trees: int
    waiting_tasks: int
    draining: bool
    engine: EngineStatus | None
    """The engine of the first pool that has any; None until the first replica is ready."""
    replicas: list[ReplicaStatus]
    pools: list[PoolStatus]
    run_ids: list[str]
    violations: dict[str, int]
    """Times each named invariant was seen broken; zero everywhere is health."""
    expired_trees: int = 0
    """Trees that expired since the service started: every group of their run had acknowledged them."""
    deleted_runs: int = 0
    """Runs that were deleted since then."""
    store_outage: str = ""
    """Why the store does not answer or takes no writes, as a sentence; "" while it does. Nothing grows meanwhile."""
    store_outage_since: float | None = None
    """Since when, in seconds since the Unix epoch; None while it does."""
    store_used: float | None = None
    """Share of the store's memory limit that is in use; None without a limit."""
    store_full: bool = False
    """So much of it that no tree starts and new tasks are refused."""
    recovered_trees: int = 0
    """Growing trees that it found in its store when it started, and went on with."""
    recovered_nodes: int = 0
    """Nodes that these had."""
    recovery_s: float = 0.0
    """What that took, seconds."""
    store_losses: int = 0
    """How often its store was emptied, or put back to an older state, since then. It went on from what it found."""
    lost_runs: dict[str, str] = field(default_factory=dict)
    """Runs of which the store lost something then, each with what, as a sentence."""
    lost_tasks: int = 0
    """Tasks that were lost with these, ..."""
    lost_trees: int = 0
    """... trees that had ended, ..."""
    lost_tokens: int = 0
    """... and tokens that had been spent."""
    suspended_runs: dict[str, str] = field(default_factory=dict)
    """Runs that it cannot go on with, each with the reason. `client.delete_run` removes them."""
    damaged_trees: dict[str, str] = field(default_factory=dict)
    """Trees that could not be grown again from what is stored of them, each with the reason: they grow anew."""
    caller: str = ""
    """The name of the token that asked; "" in a service without tokens."""
    role: str = ""
    """What it is for: "client", "viewer" or "operator"; "" in a service without tokens."""

    @classmethod
    def from_proto(cls, status: rollout_pb2.ServiceStatus) -> "ServiceStatus":
        """Read it from the wire."""
        own: dict[str, Any] = {
            "engine": _engine(status),
            "pools": [
                PoolStatus(
                    engine=_engine(pool),
                    stop_token_ids=list(pool.stop_token_ids),
                    wanted=pool.wanted if pool.HasField("wanted") else None,
                    desired=pool.desired if pool.HasField("desired") else None,
                    **_scalars(
                        PoolStatus, pool, {"engine": None, "stop_token_ids": None, "wanted": None, "desired": None}
                    ),
                )
                for pool in status.pools
            ],
            "replicas": [
                ReplicaStatus(origin=_origin(replica.origin), **_scalars(ReplicaStatus, replica, {"origin": None}))
                for replica in status.replicas
            ],
            "run_ids": list(status.run_ids),
            "violations": dict(status.violations),
            "lost_runs": dict(status.lost_runs),
            "suspended_runs": dict(status.suspended_runs),
            "damaged_trees": dict(status.damaged_trees),
            "store_outage_since": status.store_outage_since if status.HasField("store_outage_since") else None,
            "store_used": status.store_used if status.HasField("store_used") else None,
        }
        return cls(**own, **_scalars(cls, status, own))

    def model_names(self) -> str:
        """What is served, for people: the model, or NAME=MODEL for each pool."""
        models = [(pool.name, pool.engine.model if pool.engine else "no replica yet") for pool in self.pools]
        return ", ".join(f"{name}={model}" if name else model for name, model in models)


@dataclass(slots=True)
class Cap:
    """A cap on what a run may use."""

    resource: str
    """"tokens", "leaves", "expansions" or "tool_calls"."""
    limit: int
    spent: int
    outstanding: int
    """Set aside for branches that are running."""

    @property
    def left(self) -> int:
        """What nobody has spent or reserved; of tokens a little less than nothing after an overrun."""
        return self.limit - self.spent - self.outstanding


@dataclass(slots=True)
class ModelUse:
    """What one of several models did for a run."""

    model: str
    trees: int
    """Trees that were started there."""
    tokens: int
    """Tokens that the trees which ended took."""


@dataclass(slots=True)
class RunStatus:
    """A run and its figures. submitted = waiting + growing + finished + failed + those `filtered`."""

    run_id: str
    state: str
    """"open", "closed" (no more tasks) or "cancelled" (by a client, or at its deadline: see `stop_reason`)."""
    submitted: int
    waiting: int
    growing: int
    finished: int
    failed: int
    """Ended without a complete leaf."""
    leaves: int
    wasted_tokens: int
    cached_tokens: int
    recomputed_tokens: int
    forks: int
    regrants: int
    lost_tokens_max: int
    reward_errors: int
    fork_recomputed_tokens: int
    fork_requests: int
    stop_reason: str
    """Why trees were cut or tasks not started: "cancelled", "deadline" or "budget"; "" while none was."""
    stop_detail: str
    """The same as a sentence."""
    deadline: float | None
    """When its time is over, in seconds since the Unix epoch; None if its budget has no time in it."""
    drained: bool
    """The service drains and nothing of the run grows: tasks wait, or may not come, until the drain is taken back."""
    engine_errors: int
    """Requests that an engine refused, failed, or answered with numbers that cannot be."""
    engine_error: str
    """The latest of those errors as a sentence; "" without any."""
    policy_errors: int
    """How often a policy raised, or said what cannot be. Each time cost the tree or task it was asked about."""
    policy_error: str
    """The latest of those as a sentence, with the policy's name; "" without any."""
    filtered: dict[str, int]
    """Trees that its filters dropped, by filter. They are not in `finished`."""
    quarantined: list[str]
    """Ids of tasks that replicas died of, in order; their trees were ended."""
    caps: list[Cap]
    """On the whole run's use, those that are set."""
    models: list[ModelUse]
    """What each model did for a run with a route."""
    ledger: Ledger
    config: dict[str, Any]
    """Resolved configuration."""
    expired_trees: int = 0
    """Its trees that have expired since the service started."""
    damaged: int = 0
    """Times that what is stored of one of its trees could not be grown again, and the tree grew anew."""
    stale_trees: int = 0
    """Trees that were ended because their pool got other weights: by `on_update`, or as hopelessly old."""
    staleness: dict[int, int] = field(default_factory=dict)
    """Versions behind at the first delivery to a group -> trees, by `staleness_by`; since the service started, and
    empty while no weights were published."""
    withheld: int = 0
    """Deliveries without samples since the service started, because the tree was beyond `max_staleness`."""
    replicas: int = 0
    """Replicas of its models that are ready."""
    replicas_starting: int | None = None
    """Replicas that are being started, or will be; None if others than the service start them."""
    stuck: str = ""
    """Why nothing will come any more of which trees have samples, as a sentence; "" if it may."""
    held_up: str = ""
    """Why no tree starts just now although tasks wait; "" if they may."""
    lost: str = ""
    """What the store lost of it, as a sentence, since the service started; "" if nothing."""
    waits_for_group: str = ""
    """Then the consumer group whose acknowledgements are waited for; "" if it is for something else."""

    @property
    def ended(self) -> bool:
        """No more tasks will come, and every task has its terminal event."""
        return self.state != "open" and self.waiting == 0 and self.growing == 0

    @classmethod
    def from_proto(cls, run: rollout_pb2.Run) -> "RunStatus":
        """Read it from the wire."""
        own: dict[str, Any] = {
            "deadline": run.deadline if run.HasField("deadline") else None,
            "replicas_starting": run.replicas_starting if run.HasField("replicas_starting") else None,
            "models": [ModelUse(**_scalars(ModelUse, model)) for model in run.models],
            "filtered": dict(run.filtered),
            "quarantined": list(run.quarantined),
            "caps": [Cap(**_scalars(Cap, cap)) for cap in run.caps],
            "ledger": Ledger.from_proto(run.ledger),
            "config": json.loads(run.config_json) if run.config_json else {},
            "staleness": dict(sorted(run.staleness.items())),
        }
        return cls(**own, **_scalars(cls, run, own))


@dataclass(slots=True)
class Violation:
    """One broken promise."""

    invariant: str
    detail: str


@dataclass(slots=True)
class AuditReport:
    """What an audit found."""

    violations: list[Violation]
    runs: int
    trees: int
    nodes: int
    expired_trees: int = 0
    """Could not be looked at: they are gone."""

    @classmethod
    def from_proto(cls, reply: rollout_pb2.AuditReply) -> "AuditReport":
        """Read it from the wire."""
        found = [Violation(violation.invariant, violation.detail) for violation in reply.violations]
        return cls(found, reply.runs, reply.trees, reply.nodes, reply.expired_trees)


def _engine(status: rollout_pb2.ServiceStatus | rollout_pb2.PoolStatus) -> EngineStatus | None:
    return EngineStatus(**_scalars(EngineStatus, status.engine)) if status.HasField("engine") else None


def _origin(origin: common_pb2.Origin) -> Origin:
    own: dict[str, Any] = {"software": dict(origin.software), "gpus": list(origin.gpus)}
    return Origin(**own, **_scalars(Origin, origin, own))


def _scalars(kind: Any, message: Message, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """The message's fields that the dataclass names alike, except those already `known`."""
    return {column.name: getattr(message, column.name) for column in fields(kind) if column.name not in (known or {})}

from treeroll.pb.v1 import common_pb2 as _common_pb2
from treeroll.pb.v1 import rollout_pb2 as _rollout_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Snapshot(_message.Message):
    __slots__ = ("at", "epoch", "since", "version", "pid", "host", "durability", "draining", "store_used", "store_full", "store_losses", "growing_trees", "waiting_tasks", "loop", "totals", "pools", "replicas", "runs", "known_runs", "groups", "groups_at", "scorers", "waiting_scores", "violations")
    AT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    STORE_USED_FIELD_NUMBER: _ClassVar[int]
    STORE_FULL_FIELD_NUMBER: _ClassVar[int]
    STORE_LOSSES_FIELD_NUMBER: _ClassVar[int]
    GROWING_TREES_FIELD_NUMBER: _ClassVar[int]
    WAITING_TASKS_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_RUNS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_AT_FIELD_NUMBER: _ClassVar[int]
    SCORERS_FIELD_NUMBER: _ClassVar[int]
    WAITING_SCORES_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    at: float
    epoch: int
    since: float
    version: str
    pid: int
    host: str
    durability: str
    draining: bool
    store_used: float
    store_full: bool
    store_losses: int
    growing_trees: int
    waiting_tasks: int
    loop: LoopFigures
    totals: RunTotals
    pools: _containers.RepeatedCompositeFieldContainer[PoolFigures]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaFigures]
    runs: _containers.RepeatedCompositeFieldContainer[_rollout_pb2.Run]
    known_runs: int
    groups: _containers.RepeatedCompositeFieldContainer[GroupFigures]
    groups_at: float
    scorers: _containers.RepeatedCompositeFieldContainer[ScorerFigures]
    waiting_scores: int
    violations: _containers.RepeatedCompositeFieldContainer[BrokenPromise]
    def __init__(self, at: _Optional[float] = ..., epoch: _Optional[int] = ..., since: _Optional[float] = ..., version: _Optional[str] = ..., pid: _Optional[int] = ..., host: _Optional[str] = ..., durability: _Optional[str] = ..., draining: _Optional[bool] = ..., store_used: _Optional[float] = ..., store_full: _Optional[bool] = ..., store_losses: _Optional[int] = ..., growing_trees: _Optional[int] = ..., waiting_tasks: _Optional[int] = ..., loop: _Optional[_Union[LoopFigures, _Mapping]] = ..., totals: _Optional[_Union[RunTotals, _Mapping]] = ..., pools: _Optional[_Iterable[_Union[PoolFigures, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[ReplicaFigures, _Mapping]]] = ..., runs: _Optional[_Iterable[_Union[_rollout_pb2.Run, _Mapping]]] = ..., known_runs: _Optional[int] = ..., groups: _Optional[_Iterable[_Union[GroupFigures, _Mapping]]] = ..., groups_at: _Optional[float] = ..., scorers: _Optional[_Iterable[_Union[ScorerFigures, _Mapping]]] = ..., waiting_scores: _Optional[int] = ..., violations: _Optional[_Iterable[_Union[BrokenPromise, _Mapping]]] = ...) -> None: ...

class Histogram(_message.Message):
    __slots__ = ("bounds", "counts", "sum", "max")
    BOUNDS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    bounds: _containers.RepeatedScalarFieldContainer[float]
    counts: _containers.RepeatedScalarFieldContainer[int]
    sum: float
    max: float
    def __init__(self, bounds: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ..., sum: _Optional[float] = ..., max: _Optional[float] = ...) -> None: ...

class LoopFigures(_message.Message):
    __slots__ = ("inbox", "ticks", "commit_s", "tick_records", "decision_s", "fenced_reports", "outages", "lag_max_s")
    INBOX_FIELD_NUMBER: _ClassVar[int]
    TICKS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_S_FIELD_NUMBER: _ClassVar[int]
    TICK_RECORDS_FIELD_NUMBER: _ClassVar[int]
    DECISION_S_FIELD_NUMBER: _ClassVar[int]
    FENCED_REPORTS_FIELD_NUMBER: _ClassVar[int]
    OUTAGES_FIELD_NUMBER: _ClassVar[int]
    LAG_MAX_S_FIELD_NUMBER: _ClassVar[int]
    inbox: int
    ticks: int
    commit_s: Histogram
    tick_records: Histogram
    decision_s: Histogram
    fenced_reports: int
    outages: int
    lag_max_s: float
    def __init__(self, inbox: _Optional[int] = ..., ticks: _Optional[int] = ..., commit_s: _Optional[_Union[Histogram, _Mapping]] = ..., tick_records: _Optional[_Union[Histogram, _Mapping]] = ..., decision_s: _Optional[_Union[Histogram, _Mapping]] = ..., fenced_reports: _Optional[int] = ..., outages: _Optional[int] = ..., lag_max_s: _Optional[float] = ...) -> None: ...

class RunTotals(_message.Message):
    __slots__ = ("open_runs", "ending_runs", "outstanding", "submitted", "finished", "failed", "filtered", "leaves", "spent", "wasted_tokens", "cached_tokens", "recomputed_tokens", "fork_recomputed_tokens", "fork_requests", "forks", "regrants", "lost_tokens_max", "reward_errors", "engine_errors", "policy_errors", "late_tokens", "dropped_tokens", "pruned_tokens", "censored_tokens", "scored_trees", "trees_without_signal", "effective_leaves")
    OPEN_RUNS_FIELD_NUMBER: _ClassVar[int]
    ENDING_RUNS_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    WASTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FORK_RECOMPUTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FORK_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FORKS_FIELD_NUMBER: _ClassVar[int]
    REGRANTS_FIELD_NUMBER: _ClassVar[int]
    LOST_TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    REWARD_ERRORS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_ERRORS_FIELD_NUMBER: _ClassVar[int]
    POLICY_ERRORS_FIELD_NUMBER: _ClassVar[int]
    LATE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PRUNED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CENSORED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SCORED_TREES_FIELD_NUMBER: _ClassVar[int]
    TREES_WITHOUT_SIGNAL_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_LEAVES_FIELD_NUMBER: _ClassVar[int]
    open_runs: int
    ending_runs: int
    outstanding: int
    submitted: int
    finished: int
    failed: int
    filtered: int
    leaves: int
    spent: int
    wasted_tokens: int
    cached_tokens: int
    recomputed_tokens: int
    fork_recomputed_tokens: int
    fork_requests: int
    forks: int
    regrants: int
    lost_tokens_max: int
    reward_errors: int
    engine_errors: int
    policy_errors: int
    late_tokens: int
    dropped_tokens: int
    pruned_tokens: int
    censored_tokens: int
    scored_trees: int
    trees_without_signal: int
    effective_leaves: int
    def __init__(self, open_runs: _Optional[int] = ..., ending_runs: _Optional[int] = ..., outstanding: _Optional[int] = ..., submitted: _Optional[int] = ..., finished: _Optional[int] = ..., failed: _Optional[int] = ..., filtered: _Optional[int] = ..., leaves: _Optional[int] = ..., spent: _Optional[int] = ..., wasted_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., recomputed_tokens: _Optional[int] = ..., fork_recomputed_tokens: _Optional[int] = ..., fork_requests: _Optional[int] = ..., forks: _Optional[int] = ..., regrants: _Optional[int] = ..., lost_tokens_max: _Optional[int] = ..., reward_errors: _Optional[int] = ..., engine_errors: _Optional[int] = ..., policy_errors: _Optional[int] = ..., late_tokens: _Optional[int] = ..., dropped_tokens: _Optional[int] = ..., pruned_tokens: _Optional[int] = ..., censored_tokens: _Optional[int] = ..., scored_trees: _Optional[int] = ..., trees_without_signal: _Optional[int] = ..., effective_leaves: _Optional[int] = ...) -> None: ...

class PoolFigures(_message.Message):
    __slots__ = ("name", "model", "replicas", "ready_replicas", "kept_replicas", "slots", "trees", "running", "waiting_engine", "stopping", "waiting_slot", "waiting_budget", "waiting_rate", "held", "waiting_judge", "weight_version", "kv_usage_max", "preempted", "generated_tokens", "finished_grants", "stopped_grants", "lost_grants", "credit_grants", "held_grants", "forgotten_losses", "drained_grants", "left_replicas", "drained_replicas", "preempted_replicas", "kv_usage_mean", "desired_replicas", "desired_because", "scalings")
    class ScalingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    READY_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    KEPT_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    TREES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_ENGINE_FIELD_NUMBER: _ClassVar[int]
    STOPPING_FIELD_NUMBER: _ClassVar[int]
    WAITING_SLOT_FIELD_NUMBER: _ClassVar[int]
    WAITING_BUDGET_FIELD_NUMBER: _ClassVar[int]
    WAITING_RATE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    WAITING_JUDGE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_VERSION_FIELD_NUMBER: _ClassVar[int]
    KV_USAGE_MAX_FIELD_NUMBER: _ClassVar[int]
    PREEMPTED_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_GRANTS_FIELD_NUMBER: _ClassVar[int]
    STOPPED_GRANTS_FIELD_NUMBER: _ClassVar[int]
    LOST_GRANTS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_GRANTS_FIELD_NUMBER: _ClassVar[int]
    HELD_GRANTS_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_LOSSES_FIELD_NUMBER: _ClassVar[int]
    DRAINED_GRANTS_FIELD_NUMBER: _ClassVar[int]
    LEFT_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    DRAINED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREEMPTED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    KV_USAGE_MEAN_FIELD_NUMBER: _ClassVar[int]
    DESIRED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    DESIRED_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    SCALINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    replicas: int
    ready_replicas: int
    kept_replicas: int
    slots: int
    trees: int
    running: int
    waiting_engine: int
    stopping: int
    waiting_slot: int
    waiting_budget: int
    waiting_rate: int
    held: int
    waiting_judge: int
    weight_version: int
    kv_usage_max: float
    preempted: int
    generated_tokens: int
    finished_grants: int
    stopped_grants: int
    lost_grants: int
    credit_grants: int
    held_grants: int
    forgotten_losses: int
    drained_grants: int
    left_replicas: int
    drained_replicas: int
    preempted_replicas: int
    kv_usage_mean: float
    desired_replicas: int
    desired_because: str
    scalings: _containers.ScalarMap[str, int]
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., replicas: _Optional[int] = ..., ready_replicas: _Optional[int] = ..., kept_replicas: _Optional[int] = ..., slots: _Optional[int] = ..., trees: _Optional[int] = ..., running: _Optional[int] = ..., waiting_engine: _Optional[int] = ..., stopping: _Optional[int] = ..., waiting_slot: _Optional[int] = ..., waiting_budget: _Optional[int] = ..., waiting_rate: _Optional[int] = ..., held: _Optional[int] = ..., waiting_judge: _Optional[int] = ..., weight_version: _Optional[int] = ..., kv_usage_max: _Optional[float] = ..., preempted: _Optional[int] = ..., generated_tokens: _Optional[int] = ..., finished_grants: _Optional[int] = ..., stopped_grants: _Optional[int] = ..., lost_grants: _Optional[int] = ..., credit_grants: _Optional[int] = ..., held_grants: _Optional[int] = ..., forgotten_losses: _Optional[int] = ..., drained_grants: _Optional[int] = ..., left_replicas: _Optional[int] = ..., drained_replicas: _Optional[int] = ..., preempted_replicas: _Optional[int] = ..., kv_usage_mean: _Optional[float] = ..., desired_replicas: _Optional[int] = ..., desired_because: _Optional[str] = ..., scalings: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ReplicaFigures(_message.Message):
    __slots__ = ("replica_id", "incarnation", "pool", "state", "reason", "retry_s", "branches", "slots", "running", "waiting", "kv_usage", "preempted", "generated_tokens", "reported_tokens", "tokens_per_s", "silent_s", "restarts", "losses", "recent_losses", "lost_at", "lost_cause", "weight_version", "origin")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_S_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    KV_USAGE_FIELD_NUMBER: _ClassVar[int]
    PREEMPTED_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REPORTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    SILENT_S_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    RECENT_LOSSES_FIELD_NUMBER: _ClassVar[int]
    LOST_AT_FIELD_NUMBER: _ClassVar[int]
    LOST_CAUSE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_VERSION_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    incarnation: int
    pool: str
    state: str
    reason: str
    retry_s: float
    branches: int
    slots: int
    running: int
    waiting: int
    kv_usage: float
    preempted: int
    generated_tokens: int
    reported_tokens: int
    tokens_per_s: float
    silent_s: float
    restarts: int
    losses: int
    recent_losses: int
    lost_at: float
    lost_cause: str
    weight_version: int
    origin: _common_pb2.Origin
    def __init__(self, replica_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., pool: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., retry_s: _Optional[float] = ..., branches: _Optional[int] = ..., slots: _Optional[int] = ..., running: _Optional[int] = ..., waiting: _Optional[int] = ..., kv_usage: _Optional[float] = ..., preempted: _Optional[int] = ..., generated_tokens: _Optional[int] = ..., reported_tokens: _Optional[int] = ..., tokens_per_s: _Optional[float] = ..., silent_s: _Optional[float] = ..., restarts: _Optional[int] = ..., losses: _Optional[int] = ..., recent_losses: _Optional[int] = ..., lost_at: _Optional[float] = ..., lost_cause: _Optional[str] = ..., weight_version: _Optional[int] = ..., origin: _Optional[_Union[_common_pb2.Origin, _Mapping]] = ...) -> None: ...

class GroupFigures(_message.Message):
    __slots__ = ("run_id", "group", "acknowledged", "leased", "waiting", "stuck_s")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    LEASED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    STUCK_S_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    group: str
    acknowledged: int
    leased: int
    waiting: int
    stuck_s: float
    def __init__(self, run_id: _Optional[str] = ..., group: _Optional[str] = ..., acknowledged: _Optional[int] = ..., leased: _Optional[int] = ..., waiting: _Optional[int] = ..., stuck_s: _Optional[float] = ...) -> None: ...

class ScorerFigures(_message.Message):
    __slots__ = ("scorer", "scored", "failed", "abstained", "seconds", "error")
    SCORER_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    ABSTAINED_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    scorer: str
    scored: int
    failed: int
    abstained: int
    seconds: Histogram
    error: str
    def __init__(self, scorer: _Optional[str] = ..., scored: _Optional[int] = ..., failed: _Optional[int] = ..., abstained: _Optional[int] = ..., seconds: _Optional[_Union[Histogram, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class BrokenPromise(_message.Message):
    __slots__ = ("invariant", "times", "at", "detail")
    INVARIANT_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    invariant: str
    times: int
    at: float
    detail: str
    def __init__(self, invariant: _Optional[str] = ..., times: _Optional[int] = ..., at: _Optional[float] = ..., detail: _Optional[str] = ...) -> None: ...

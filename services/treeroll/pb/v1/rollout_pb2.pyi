from treeroll.pb.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetServiceRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DrainReplicasRequest(_message.Message):
    __slots__ = ("targets", "within_s", "force")
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_S_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedScalarFieldContainer[str]
    within_s: float
    force: bool
    def __init__(self, targets: _Optional[_Iterable[str]] = ..., within_s: _Optional[float] = ..., force: _Optional[bool] = ...) -> None: ...

class DrainReplicasReply(_message.Message):
    __slots__ = ("replicas", "unkept")
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    UNKEPT_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedScalarFieldContainer[str]
    unkept: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, replicas: _Optional[_Iterable[str]] = ..., unkept: _Optional[_Iterable[str]] = ...) -> None: ...

class ScalePoolRequest(_message.Message):
    __slots__ = ("pool", "replicas", "fleet", "within_s", "force")
    POOL_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    FLEET_FIELD_NUMBER: _ClassVar[int]
    WITHIN_S_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    pool: str
    replicas: int
    fleet: str
    within_s: float
    force: bool
    def __init__(self, pool: _Optional[str] = ..., replicas: _Optional[int] = ..., fleet: _Optional[str] = ..., within_s: _Optional[float] = ..., force: _Optional[bool] = ...) -> None: ...

class ScalePoolReply(_message.Message):
    __slots__ = ("fleet", "before")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    fleet: str
    before: int
    def __init__(self, fleet: _Optional[str] = ..., before: _Optional[int] = ...) -> None: ...

class ReplicaStatus(_message.Message):
    __slots__ = ("replica_id", "incarnation", "state", "branches", "slots", "generated_tokens", "kv_usage", "silent_s", "restarts", "pool", "reason", "retry_s", "origin")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KV_USAGE_FIELD_NUMBER: _ClassVar[int]
    SILENT_S_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_S_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    incarnation: int
    state: str
    branches: int
    slots: int
    generated_tokens: int
    kv_usage: float
    silent_s: float
    restarts: int
    pool: str
    reason: str
    retry_s: float
    origin: _common_pb2.Origin
    def __init__(self, replica_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., state: _Optional[str] = ..., branches: _Optional[int] = ..., slots: _Optional[int] = ..., generated_tokens: _Optional[int] = ..., kv_usage: _Optional[float] = ..., silent_s: _Optional[float] = ..., restarts: _Optional[int] = ..., pool: _Optional[str] = ..., reason: _Optional[str] = ..., retry_s: _Optional[float] = ..., origin: _Optional[_Union[_common_pb2.Origin, _Mapping]] = ...) -> None: ...

class PoolStatus(_message.Message):
    __slots__ = ("name", "engine", "replicas", "slots", "branches", "waiting_branches", "live_trees", "stop_token_ids", "wanted", "draining", "not_scheduled", "not_scheduled_because", "desired", "desired_because")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    WAITING_BRANCHES_FIELD_NUMBER: _ClassVar[int]
    LIVE_TREES_FIELD_NUMBER: _ClassVar[int]
    STOP_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    NOT_SCHEDULED_FIELD_NUMBER: _ClassVar[int]
    NOT_SCHEDULED_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    DESIRED_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    name: str
    engine: _common_pb2.EngineInfo
    replicas: int
    slots: int
    branches: int
    waiting_branches: int
    live_trees: int
    stop_token_ids: _containers.RepeatedScalarFieldContainer[int]
    wanted: int
    draining: int
    not_scheduled: int
    not_scheduled_because: str
    desired: int
    desired_because: str
    def __init__(self, name: _Optional[str] = ..., engine: _Optional[_Union[_common_pb2.EngineInfo, _Mapping]] = ..., replicas: _Optional[int] = ..., slots: _Optional[int] = ..., branches: _Optional[int] = ..., waiting_branches: _Optional[int] = ..., live_trees: _Optional[int] = ..., stop_token_ids: _Optional[_Iterable[int]] = ..., wanted: _Optional[int] = ..., draining: _Optional[int] = ..., not_scheduled: _Optional[int] = ..., not_scheduled_because: _Optional[str] = ..., desired: _Optional[int] = ..., desired_because: _Optional[str] = ...) -> None: ...

class ServiceStatus(_message.Message):
    __slots__ = ("epoch", "version", "engine", "tokenizer_hash", "replicas", "run_ids", "durability", "store", "violations", "live_trees", "waiting_tasks", "draining", "pools", "expired_trees", "deleted_runs", "tokenizer", "store_outage", "store_outage_since", "store_used", "store_full", "recovered_trees", "recovered_nodes", "recovery_s", "suspended_runs", "damaged_trees", "store_losses", "lost_runs", "lost_tasks", "lost_trees", "lost_tokens", "caller", "role")
    class ViolationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class SuspendedRunsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class DamagedTreesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LostRunsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_HASH_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    LIVE_TREES_FIELD_NUMBER: _ClassVar[int]
    WAITING_TASKS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_TREES_FIELD_NUMBER: _ClassVar[int]
    DELETED_RUNS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    STORE_OUTAGE_FIELD_NUMBER: _ClassVar[int]
    STORE_OUTAGE_SINCE_FIELD_NUMBER: _ClassVar[int]
    STORE_USED_FIELD_NUMBER: _ClassVar[int]
    STORE_FULL_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_TREES_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_NODES_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_S_FIELD_NUMBER: _ClassVar[int]
    SUSPENDED_RUNS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_TREES_FIELD_NUMBER: _ClassVar[int]
    STORE_LOSSES_FIELD_NUMBER: _ClassVar[int]
    LOST_RUNS_FIELD_NUMBER: _ClassVar[int]
    LOST_TASKS_FIELD_NUMBER: _ClassVar[int]
    LOST_TREES_FIELD_NUMBER: _ClassVar[int]
    LOST_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    version: str
    engine: _common_pb2.EngineInfo
    tokenizer_hash: str
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaStatus]
    run_ids: _containers.RepeatedScalarFieldContainer[str]
    durability: str
    store: str
    violations: _containers.ScalarMap[str, int]
    live_trees: int
    waiting_tasks: int
    draining: bool
    pools: _containers.RepeatedCompositeFieldContainer[PoolStatus]
    expired_trees: int
    deleted_runs: int
    tokenizer: TokenizerFacts
    store_outage: str
    store_outage_since: float
    store_used: float
    store_full: bool
    recovered_trees: int
    recovered_nodes: int
    recovery_s: float
    suspended_runs: _containers.ScalarMap[str, str]
    damaged_trees: _containers.ScalarMap[str, str]
    store_losses: int
    lost_runs: _containers.ScalarMap[str, str]
    lost_tasks: int
    lost_trees: int
    lost_tokens: int
    caller: str
    role: str
    def __init__(self, epoch: _Optional[int] = ..., version: _Optional[str] = ..., engine: _Optional[_Union[_common_pb2.EngineInfo, _Mapping]] = ..., tokenizer_hash: _Optional[str] = ..., replicas: _Optional[_Iterable[_Union[ReplicaStatus, _Mapping]]] = ..., run_ids: _Optional[_Iterable[str]] = ..., durability: _Optional[str] = ..., store: _Optional[str] = ..., violations: _Optional[_Mapping[str, int]] = ..., live_trees: _Optional[int] = ..., waiting_tasks: _Optional[int] = ..., draining: _Optional[bool] = ..., pools: _Optional[_Iterable[_Union[PoolStatus, _Mapping]]] = ..., expired_trees: _Optional[int] = ..., deleted_runs: _Optional[int] = ..., tokenizer: _Optional[_Union[TokenizerFacts, _Mapping]] = ..., store_outage: _Optional[str] = ..., store_outage_since: _Optional[float] = ..., store_used: _Optional[float] = ..., store_full: _Optional[bool] = ..., recovered_trees: _Optional[int] = ..., recovered_nodes: _Optional[int] = ..., recovery_s: _Optional[float] = ..., suspended_runs: _Optional[_Mapping[str, str]] = ..., damaged_trees: _Optional[_Mapping[str, str]] = ..., store_losses: _Optional[int] = ..., lost_runs: _Optional[_Mapping[str, str]] = ..., lost_tasks: _Optional[int] = ..., lost_trees: _Optional[int] = ..., lost_tokens: _Optional[int] = ..., caller: _Optional[str] = ..., role: _Optional[str] = ...) -> None: ...

class CreateRunRequest(_message.Message):
    __slots__ = ("run_id", "config_json")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    config_json: str
    def __init__(self, run_id: _Optional[str] = ..., config_json: _Optional[str] = ...) -> None: ...

class Cap(_message.Message):
    __slots__ = ("resource", "limit", "spent", "outstanding")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    resource: str
    limit: int
    spent: int
    outstanding: int
    def __init__(self, resource: _Optional[str] = ..., limit: _Optional[int] = ..., spent: _Optional[int] = ..., outstanding: _Optional[int] = ...) -> None: ...

class ModelUse(_message.Message):
    __slots__ = ("model", "trees", "tokens")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TREES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    model: str
    trees: int
    tokens: int
    def __init__(self, model: _Optional[str] = ..., trees: _Optional[int] = ..., tokens: _Optional[int] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("run_id", "config_json", "state", "submitted", "waiting", "growing", "finished", "failed", "leaves", "ledger", "wasted_tokens", "cached_tokens", "recomputed_tokens", "forks", "regrants", "lost_tokens_max", "reward_errors", "fork_recomputed_tokens", "fork_requests", "caps", "stop_reason", "stop_detail", "deadline", "models", "drained", "engine_errors", "engine_error", "quarantined", "expired_trees", "stale_trees", "staleness", "withheld", "filtered", "replicas", "replicas_starting", "stuck", "held_up", "waits_for_group", "tokenizer", "created", "memory", "policy_errors", "policy_error", "owner", "lost", "damaged", "late_tokens", "dropped_tokens", "pruned_tokens", "censored_tokens", "scored_trees", "trees_without_signal", "effective_leaves")
    class StalenessEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    class FilteredEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    GROWING_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    WASTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FORKS_FIELD_NUMBER: _ClassVar[int]
    REGRANTS_FIELD_NUMBER: _ClassVar[int]
    LOST_TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    REWARD_ERRORS_FIELD_NUMBER: _ClassVar[int]
    FORK_RECOMPUTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FORK_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    CAPS_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    STOP_DETAIL_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    ENGINE_ERRORS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_ERROR_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_TREES_FIELD_NUMBER: _ClassVar[int]
    STALE_TREES_FIELD_NUMBER: _ClassVar[int]
    STALENESS_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_STARTING_FIELD_NUMBER: _ClassVar[int]
    STUCK_FIELD_NUMBER: _ClassVar[int]
    HELD_UP_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_GROUP_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    POLICY_ERRORS_FIELD_NUMBER: _ClassVar[int]
    POLICY_ERROR_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    LATE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PRUNED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CENSORED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SCORED_TREES_FIELD_NUMBER: _ClassVar[int]
    TREES_WITHOUT_SIGNAL_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_LEAVES_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    config_json: str
    state: str
    submitted: int
    waiting: int
    growing: int
    finished: int
    failed: int
    leaves: int
    ledger: _common_pb2.Ledger
    wasted_tokens: int
    cached_tokens: int
    recomputed_tokens: int
    forks: int
    regrants: int
    lost_tokens_max: int
    reward_errors: int
    fork_recomputed_tokens: int
    fork_requests: int
    caps: _containers.RepeatedCompositeFieldContainer[Cap]
    stop_reason: str
    stop_detail: str
    deadline: float
    models: _containers.RepeatedCompositeFieldContainer[ModelUse]
    drained: bool
    engine_errors: int
    engine_error: str
    quarantined: _containers.RepeatedScalarFieldContainer[str]
    expired_trees: int
    stale_trees: int
    staleness: _containers.ScalarMap[int, int]
    withheld: int
    filtered: _containers.ScalarMap[str, int]
    replicas: int
    replicas_starting: int
    stuck: str
    held_up: str
    waits_for_group: str
    tokenizer: TokenizerFacts
    created: float
    memory: bytes
    policy_errors: int
    policy_error: str
    owner: str
    lost: str
    damaged: int
    late_tokens: int
    dropped_tokens: int
    pruned_tokens: int
    censored_tokens: int
    scored_trees: int
    trees_without_signal: int
    effective_leaves: int
    def __init__(self, run_id: _Optional[str] = ..., config_json: _Optional[str] = ..., state: _Optional[str] = ..., submitted: _Optional[int] = ..., waiting: _Optional[int] = ..., growing: _Optional[int] = ..., finished: _Optional[int] = ..., failed: _Optional[int] = ..., leaves: _Optional[int] = ..., ledger: _Optional[_Union[_common_pb2.Ledger, _Mapping]] = ..., wasted_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., recomputed_tokens: _Optional[int] = ..., forks: _Optional[int] = ..., regrants: _Optional[int] = ..., lost_tokens_max: _Optional[int] = ..., reward_errors: _Optional[int] = ..., fork_recomputed_tokens: _Optional[int] = ..., fork_requests: _Optional[int] = ..., caps: _Optional[_Iterable[_Union[Cap, _Mapping]]] = ..., stop_reason: _Optional[str] = ..., stop_detail: _Optional[str] = ..., deadline: _Optional[float] = ..., models: _Optional[_Iterable[_Union[ModelUse, _Mapping]]] = ..., drained: _Optional[bool] = ..., engine_errors: _Optional[int] = ..., engine_error: _Optional[str] = ..., quarantined: _Optional[_Iterable[str]] = ..., expired_trees: _Optional[int] = ..., stale_trees: _Optional[int] = ..., staleness: _Optional[_Mapping[int, int]] = ..., withheld: _Optional[int] = ..., filtered: _Optional[_Mapping[str, int]] = ..., replicas: _Optional[int] = ..., replicas_starting: _Optional[int] = ..., stuck: _Optional[str] = ..., held_up: _Optional[str] = ..., waits_for_group: _Optional[str] = ..., tokenizer: _Optional[_Union[TokenizerFacts, _Mapping]] = ..., created: _Optional[float] = ..., memory: _Optional[bytes] = ..., policy_errors: _Optional[int] = ..., policy_error: _Optional[str] = ..., owner: _Optional[str] = ..., lost: _Optional[str] = ..., damaged: _Optional[int] = ..., late_tokens: _Optional[int] = ..., dropped_tokens: _Optional[int] = ..., pruned_tokens: _Optional[int] = ..., censored_tokens: _Optional[int] = ..., scored_trees: _Optional[int] = ..., trees_without_signal: _Optional[int] = ..., effective_leaves: _Optional[int] = ...) -> None: ...

class TokenizerFacts(_message.Message):
    __slots__ = ("hash", "eos_token_ids", "pad_token_id", "max_model_len")
    HASH_FIELD_NUMBER: _ClassVar[int]
    EOS_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    PAD_TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_LEN_FIELD_NUMBER: _ClassVar[int]
    hash: str
    eos_token_ids: _containers.RepeatedScalarFieldContainer[int]
    pad_token_id: int
    max_model_len: int
    def __init__(self, hash: _Optional[str] = ..., eos_token_ids: _Optional[_Iterable[int]] = ..., pad_token_id: _Optional[int] = ..., max_model_len: _Optional[int] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("task_id", "text", "messages_json", "prompt_ids", "answer", "extra_json", "chat_template_kwargs_json")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_JSON_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IDS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    EXTRA_JSON_FIELD_NUMBER: _ClassVar[int]
    CHAT_TEMPLATE_KWARGS_JSON_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    text: str
    messages_json: str
    prompt_ids: bytes
    answer: str
    extra_json: str
    chat_template_kwargs_json: str
    def __init__(self, task_id: _Optional[str] = ..., text: _Optional[str] = ..., messages_json: _Optional[str] = ..., prompt_ids: _Optional[bytes] = ..., answer: _Optional[str] = ..., extra_json: _Optional[str] = ..., chat_template_kwargs_json: _Optional[str] = ...) -> None: ...

class SubmitTasksRequest(_message.Message):
    __slots__ = ("run_id", "epoch", "tasks")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    epoch: int
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    def __init__(self, run_id: _Optional[str] = ..., epoch: _Optional[int] = ..., tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ...) -> None: ...

class SubmitTasksReply(_message.Message):
    __slots__ = ("tree_ids", "duplicates", "unfit")
    TREE_IDS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    UNFIT_FIELD_NUMBER: _ClassVar[int]
    tree_ids: _containers.RepeatedScalarFieldContainer[str]
    duplicates: int
    unfit: _containers.RepeatedCompositeFieldContainer[UnfitTasks]
    def __init__(self, tree_ids: _Optional[_Iterable[str]] = ..., duplicates: _Optional[int] = ..., unfit: _Optional[_Iterable[_Union[UnfitTasks, _Mapping]]] = ...) -> None: ...

class UnfitTasks(_message.Message):
    __slots__ = ("scorer", "seen", "count", "task_id", "reason")
    SCORER_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    scorer: str
    seen: int
    count: int
    task_id: str
    reason: str
    def __init__(self, scorer: _Optional[str] = ..., seen: _Optional[int] = ..., count: _Optional[int] = ..., task_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CloseRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class DeleteRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class DeleteRunReply(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: int
    def __init__(self, tasks: _Optional[int] = ...) -> None: ...

class CancelRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class SeqRange(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class OpenGroupRequest(_message.Message):
    __slots__ = ("run_id", "group", "latest")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    group: str
    latest: bool
    def __init__(self, run_id: _Optional[str] = ..., group: _Optional[str] = ..., latest: _Optional[bool] = ...) -> None: ...

class GroupPosition(_message.Message):
    __slots__ = ("run_created", "epoch", "acknowledged", "steps", "steps_out", "owner_epoch", "opened")
    RUN_CREATED_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    STEPS_OUT_FIELD_NUMBER: _ClassVar[int]
    OWNER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    run_created: float
    epoch: int
    acknowledged: _containers.RepeatedCompositeFieldContainer[SeqRange]
    steps: int
    steps_out: int
    owner_epoch: int
    opened: _containers.RepeatedCompositeFieldContainer[FeedMark]
    def __init__(self, run_created: _Optional[float] = ..., epoch: _Optional[int] = ..., acknowledged: _Optional[_Iterable[_Union[SeqRange, _Mapping]]] = ..., steps: _Optional[int] = ..., steps_out: _Optional[int] = ..., owner_epoch: _Optional[int] = ..., opened: _Optional[_Iterable[_Union[FeedMark, _Mapping]]] = ...) -> None: ...

class FeedMark(_message.Message):
    __slots__ = ("owner_epoch", "last")
    OWNER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    owner_epoch: int
    last: int
    def __init__(self, owner_epoch: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class SeekGroupRequest(_message.Message):
    __slots__ = ("run_id", "group", "run_created", "acknowledged", "move_id", "steps", "by_ranks", "seen")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    RUN_CREATED_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    MOVE_ID_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    BY_RANKS_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    group: str
    run_created: float
    acknowledged: _containers.RepeatedCompositeFieldContainer[SeqRange]
    move_id: str
    steps: int
    by_ranks: bool
    seen: _containers.RepeatedCompositeFieldContainer[FeedMark]
    def __init__(self, run_id: _Optional[str] = ..., group: _Optional[str] = ..., run_created: _Optional[float] = ..., acknowledged: _Optional[_Iterable[_Union[SeqRange, _Mapping]]] = ..., move_id: _Optional[str] = ..., steps: _Optional[int] = ..., by_ranks: _Optional[bool] = ..., seen: _Optional[_Iterable[_Union[FeedMark, _Mapping]]] = ...) -> None: ...

class LeaseBatchRequest(_message.Message):
    __slots__ = ("run_id", "group", "group_epoch", "step", "rank", "world", "trees", "wait_s", "short", "first")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    GROUP_EPOCH_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    WORLD_FIELD_NUMBER: _ClassVar[int]
    TREES_FIELD_NUMBER: _ClassVar[int]
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    SHORT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    group: str
    group_epoch: int
    step: int
    rank: int
    world: int
    trees: int
    wait_s: float
    short: bool
    first: int
    def __init__(self, run_id: _Optional[str] = ..., group: _Optional[str] = ..., group_epoch: _Optional[int] = ..., step: _Optional[int] = ..., rank: _Optional[int] = ..., world: _Optional[int] = ..., trees: _Optional[int] = ..., wait_s: _Optional[float] = ..., short: _Optional[bool] = ..., first: _Optional[int] = ...) -> None: ...

class LeaseBatchReply(_message.Message):
    __slots__ = ("deliveries", "step", "share_trees", "global_trees", "global_samples", "global_tokens", "global_seqs", "exhausted", "owner_epoch")
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SHARE_TREES_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_TREES_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_SEQS_FIELD_NUMBER: _ClassVar[int]
    EXHAUSTED_FIELD_NUMBER: _ClassVar[int]
    OWNER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    step: int
    share_trees: int
    global_trees: int
    global_samples: int
    global_tokens: int
    global_seqs: _containers.RepeatedCompositeFieldContainer[SeqRange]
    exhausted: bool
    owner_epoch: int
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., step: _Optional[int] = ..., share_trees: _Optional[int] = ..., global_trees: _Optional[int] = ..., global_samples: _Optional[int] = ..., global_tokens: _Optional[int] = ..., global_seqs: _Optional[_Iterable[_Union[SeqRange, _Mapping]]] = ..., exhausted: _Optional[bool] = ..., owner_epoch: _Optional[int] = ...) -> None: ...

class AckBatchRequest(_message.Message):
    __slots__ = ("run_id", "group", "group_epoch", "step", "rank", "world")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    GROUP_EPOCH_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    WORLD_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    group: str
    group_epoch: int
    step: int
    rank: int
    world: int
    def __init__(self, run_id: _Optional[str] = ..., group: _Optional[str] = ..., group_epoch: _Optional[int] = ..., step: _Optional[int] = ..., rank: _Optional[int] = ..., world: _Optional[int] = ...) -> None: ...

class AckBatchReply(_message.Message):
    __slots__ = ("acknowledged",)
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    acknowledged: bool
    def __init__(self, acknowledged: _Optional[bool] = ...) -> None: ...

class LeaseTreesRequest(_message.Message):
    __slots__ = ("run_id", "group", "consumer", "max_trees", "lease_s", "wait_s", "stored", "batch_trees", "group_epoch", "holds", "request_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    MAX_TREES_FIELD_NUMBER: _ClassVar[int]
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    BATCH_TREES_FIELD_NUMBER: _ClassVar[int]
    GROUP_EPOCH_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    group: str
    consumer: str
    max_trees: int
    lease_s: float
    wait_s: float
    stored: bool
    batch_trees: int
    group_epoch: int
    holds: bool
    request_id: str
    def __init__(self, run_id: _Optional[str] = ..., group: _Optional[str] = ..., consumer: _Optional[str] = ..., max_trees: _Optional[int] = ..., lease_s: _Optional[float] = ..., wait_s: _Optional[float] = ..., stored: _Optional[bool] = ..., batch_trees: _Optional[int] = ..., group_epoch: _Optional[int] = ..., holds: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("lease_id", "deadline", "delivery_seq", "times_delivered", "tree", "tree_id", "samples", "weight_version", "owner_epoch", "traceparent")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_SEQ_FIELD_NUMBER: _ClassVar[int]
    TIMES_DELIVERED_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    TREE_ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_VERSION_FIELD_NUMBER: _ClassVar[int]
    OWNER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    deadline: float
    delivery_seq: int
    times_delivered: int
    tree: _common_pb2.Tree
    tree_id: str
    samples: int
    weight_version: int
    owner_epoch: int
    traceparent: str
    def __init__(self, lease_id: _Optional[str] = ..., deadline: _Optional[float] = ..., delivery_seq: _Optional[int] = ..., times_delivered: _Optional[int] = ..., tree: _Optional[_Union[_common_pb2.Tree, _Mapping]] = ..., tree_id: _Optional[str] = ..., samples: _Optional[int] = ..., weight_version: _Optional[int] = ..., owner_epoch: _Optional[int] = ..., traceparent: _Optional[str] = ...) -> None: ...

class LeaseTreesReply(_message.Message):
    __slots__ = ("deliveries", "exhausted")
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    EXHAUSTED_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    exhausted: bool
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., exhausted: _Optional[bool] = ...) -> None: ...

class CollectTreesRequest(_message.Message):
    __slots__ = ("run_id", "tree_ids", "wait_s", "stored")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TREE_IDS_FIELD_NUMBER: _ClassVar[int]
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    tree_ids: _containers.RepeatedScalarFieldContainer[str]
    wait_s: float
    stored: bool
    def __init__(self, run_id: _Optional[str] = ..., tree_ids: _Optional[_Iterable[str]] = ..., wait_s: _Optional[float] = ..., stored: _Optional[bool] = ...) -> None: ...

class CollectTreesReply(_message.Message):
    __slots__ = ("deliveries",)
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ...) -> None: ...

class RenewLeasesRequest(_message.Message):
    __slots__ = ("run_id", "group", "lease_ids", "lease_s")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    LEASE_IDS_FIELD_NUMBER: _ClassVar[int]
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    group: str
    lease_ids: _containers.RepeatedScalarFieldContainer[str]
    lease_s: float
    def __init__(self, run_id: _Optional[str] = ..., group: _Optional[str] = ..., lease_ids: _Optional[_Iterable[str]] = ..., lease_s: _Optional[float] = ...) -> None: ...

class AckTreesRequest(_message.Message):
    __slots__ = ("run_id", "group", "lease_ids")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    LEASE_IDS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    group: str
    lease_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, run_id: _Optional[str] = ..., group: _Optional[str] = ..., lease_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ReleaseTreesRequest(_message.Message):
    __slots__ = ("run_id", "group", "lease_ids", "consumer")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    LEASE_IDS_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    group: str
    lease_ids: _containers.RepeatedScalarFieldContainer[str]
    consumer: str
    def __init__(self, run_id: _Optional[str] = ..., group: _Optional[str] = ..., lease_ids: _Optional[_Iterable[str]] = ..., consumer: _Optional[str] = ...) -> None: ...

class LeasesReply(_message.Message):
    __slots__ = ("lost",)
    LOST_FIELD_NUMBER: _ClassVar[int]
    lost: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lost: _Optional[_Iterable[str]] = ...) -> None: ...

class RewardReport(_message.Message):
    __slots__ = ("tree_id", "path", "value", "scorer", "version")
    TREE_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SCORER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    tree_id: str
    path: str
    value: float
    scorer: str
    version: int
    def __init__(self, tree_id: _Optional[str] = ..., path: _Optional[str] = ..., value: _Optional[float] = ..., scorer: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class ReportRewardsRequest(_message.Message):
    __slots__ = ("run_id", "rewards")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REWARDS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    rewards: _containers.RepeatedCompositeFieldContainer[RewardReport]
    def __init__(self, run_id: _Optional[str] = ..., rewards: _Optional[_Iterable[_Union[RewardReport, _Mapping]]] = ...) -> None: ...

class ReportRewardsReply(_message.Message):
    __slots__ = ("applied", "repeated")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    applied: int
    repeated: int
    def __init__(self, applied: _Optional[int] = ..., repeated: _Optional[int] = ...) -> None: ...

class GetTreeRequest(_message.Message):
    __slots__ = ("tree_id",)
    TREE_ID_FIELD_NUMBER: _ClassVar[int]
    tree_id: str
    def __init__(self, tree_id: _Optional[str] = ...) -> None: ...

class PublishWeightsRequest(_message.Message):
    __slots__ = ("pool", "version", "path", "digest")
    POOL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    pool: str
    version: int
    path: str
    digest: str
    def __init__(self, pool: _Optional[str] = ..., version: _Optional[int] = ..., path: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class GetWeightsRequest(_message.Message):
    __slots__ = ("pool", "settled_version", "wait_s")
    POOL_FIELD_NUMBER: _ClassVar[int]
    SETTLED_VERSION_FIELD_NUMBER: _ClassVar[int]
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    pool: str
    settled_version: int
    wait_s: float
    def __init__(self, pool: _Optional[str] = ..., settled_version: _Optional[int] = ..., wait_s: _Optional[float] = ...) -> None: ...

class PublishedWeights(_message.Message):
    __slots__ = ("version", "path", "digest", "phase", "published_at", "seconds", "error")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    version: int
    path: str
    digest: str
    phase: str
    published_at: float
    seconds: float
    error: str
    def __init__(self, version: _Optional[int] = ..., path: _Optional[str] = ..., digest: _Optional[str] = ..., phase: _Optional[str] = ..., published_at: _Optional[float] = ..., seconds: _Optional[float] = ..., error: _Optional[str] = ...) -> None: ...

class ReplicaWeights(_message.Message):
    __slots__ = ("replica_id", "version", "digest", "state", "since", "seconds", "error")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    version: int
    digest: str
    state: str
    since: float
    seconds: float
    error: str
    def __init__(self, replica_id: _Optional[str] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ..., state: _Optional[str] = ..., since: _Optional[float] = ..., seconds: _Optional[float] = ..., error: _Optional[str] = ...) -> None: ...

class WeightsStatus(_message.Message):
    __slots__ = ("pool", "version", "path", "digest", "publication", "replicas", "history", "in_use")
    POOL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    IN_USE_FIELD_NUMBER: _ClassVar[int]
    pool: str
    version: int
    path: str
    digest: str
    publication: PublishedWeights
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaWeights]
    history: _containers.RepeatedCompositeFieldContainer[PublishedWeights]
    in_use: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pool: _Optional[str] = ..., version: _Optional[int] = ..., path: _Optional[str] = ..., digest: _Optional[str] = ..., publication: _Optional[_Union[PublishedWeights, _Mapping]] = ..., replicas: _Optional[_Iterable[_Union[ReplicaWeights, _Mapping]]] = ..., history: _Optional[_Iterable[_Union[PublishedWeights, _Mapping]]] = ..., in_use: _Optional[_Iterable[str]] = ...) -> None: ...

class AuditRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Violation(_message.Message):
    __slots__ = ("invariant", "detail")
    INVARIANT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    invariant: str
    detail: str
    def __init__(self, invariant: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class AuditReply(_message.Message):
    __slots__ = ("violations", "runs", "trees", "nodes", "expired_trees")
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    TREES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_TREES_FIELD_NUMBER: _ClassVar[int]
    violations: _containers.RepeatedCompositeFieldContainer[Violation]
    runs: int
    trees: int
    nodes: int
    expired_trees: int
    def __init__(self, violations: _Optional[_Iterable[_Union[Violation, _Mapping]]] = ..., runs: _Optional[int] = ..., trees: _Optional[int] = ..., nodes: _Optional[int] = ..., expired_trees: _Optional[int] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UndrainRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

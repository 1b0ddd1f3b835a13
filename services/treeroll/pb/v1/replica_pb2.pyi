from treeroll.pb.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_REASON_UNSPECIFIED: _ClassVar[EndReason]
    END_REASON_EOS: _ClassVar[EndReason]
    END_REASON_LENGTH: _ClassVar[EndReason]
    END_REASON_STOPPED: _ClassVar[EndReason]
    END_REASON_CREDIT: _ClassVar[EndReason]
    END_REASON_HOLD: _ClassVar[EndReason]
    END_REASON_ERROR: _ClassVar[EndReason]
    END_REASON_STOP: _ClassVar[EndReason]

class WeightsState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WEIGHTS_STATE_UNSPECIFIED: _ClassVar[WeightsState]
    WEIGHTS_STATE_STAGED: _ClassVar[WeightsState]
    WEIGHTS_STATE_LOADED: _ClassVar[WeightsState]
    WEIGHTS_STATE_REFUSED: _ClassVar[WeightsState]
END_REASON_UNSPECIFIED: EndReason
END_REASON_EOS: EndReason
END_REASON_LENGTH: EndReason
END_REASON_STOPPED: EndReason
END_REASON_CREDIT: EndReason
END_REASON_HOLD: EndReason
END_REASON_ERROR: EndReason
END_REASON_STOP: EndReason
WEIGHTS_STATE_UNSPECIFIED: WeightsState
WEIGHTS_STATE_STAGED: WeightsState
WEIGHTS_STATE_LOADED: WeightsState
WEIGHTS_STATE_REFUSED: WeightsState

class ReplicaMessage(_message.Message):
    __slots__ = ("hello", "report", "heartbeat", "weights", "goodbye")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    report: Report
    heartbeat: Heartbeat
    weights: WeightsReport
    goodbye: Goodbye
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., weights: _Optional[_Union[WeightsReport, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Hello(_message.Message):
    __slots__ = ("replica_id", "incarnation", "engine", "weight_version", "last_seq", "live_grants", "kept_trees", "pool", "tokenizer_hash", "weight_digest", "process", "branches", "acked_seq", "origin", "draining")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LIVE_GRANTS_FIELD_NUMBER: _ClassVar[int]
    KEPT_TREES_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_HASH_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    ACKED_SEQ_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    incarnation: int
    engine: _common_pb2.EngineInfo
    weight_version: int
    last_seq: int
    live_grants: _containers.RepeatedScalarFieldContainer[int]
    kept_trees: _containers.RepeatedScalarFieldContainer[str]
    pool: str
    tokenizer_hash: str
    weight_digest: str
    process: int
    branches: _containers.RepeatedCompositeFieldContainer[LiveBranch]
    acked_seq: int
    origin: _common_pb2.Origin
    draining: Draining
    def __init__(self, replica_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., engine: _Optional[_Union[_common_pb2.EngineInfo, _Mapping]] = ..., weight_version: _Optional[int] = ..., last_seq: _Optional[int] = ..., live_grants: _Optional[_Iterable[int]] = ..., kept_trees: _Optional[_Iterable[str]] = ..., pool: _Optional[str] = ..., tokenizer_hash: _Optional[str] = ..., weight_digest: _Optional[str] = ..., process: _Optional[int] = ..., branches: _Optional[_Iterable[_Union[LiveBranch, _Mapping]]] = ..., acked_seq: _Optional[int] = ..., origin: _Optional[_Union[_common_pb2.Origin, _Mapping]] = ..., draining: _Optional[_Union[Draining, _Mapping]] = ...) -> None: ...

class LiveBranch(_message.Message):
    __slots__ = ("grant", "tree_id", "branch", "attempt", "prefix_tokens", "prefix_digest", "stopped")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    TREE_ID_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PREFIX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    grant: int
    tree_id: str
    branch: str
    attempt: int
    prefix_tokens: int
    prefix_digest: bytes
    stopped: bool
    def __init__(self, grant: _Optional[int] = ..., tree_id: _Optional[str] = ..., branch: _Optional[str] = ..., attempt: _Optional[int] = ..., prefix_tokens: _Optional[int] = ..., prefix_digest: _Optional[bytes] = ..., stopped: _Optional[bool] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("seq", "segments", "kv_usage")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    KV_USAGE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    kv_usage: float
    def __init__(self, seq: _Optional[int] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ..., kv_usage: _Optional[float] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("grant", "tokens", "text", "cached_tokens", "end", "tail", "node", "logprob_sum", "logprob_min")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_SUM_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_MIN_FIELD_NUMBER: _ClassVar[int]
    grant: int
    tokens: int
    text: str
    cached_tokens: int
    end: BranchEnd
    tail: str
    node: bytes
    logprob_sum: float
    logprob_min: float
    def __init__(self, grant: _Optional[int] = ..., tokens: _Optional[int] = ..., text: _Optional[str] = ..., cached_tokens: _Optional[int] = ..., end: _Optional[_Union[BranchEnd, _Mapping]] = ..., tail: _Optional[str] = ..., node: _Optional[bytes] = ..., logprob_sum: _Optional[float] = ..., logprob_min: _Optional[float] = ...) -> None: ...

class SegmentNode(_message.Message):
    __slots__ = ("token_ids", "logprobs", "weight_versions", "started_at", "finished_at", "entropies", "parent_chars", "kv_mixed")
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    ENTROPIES_FIELD_NUMBER: _ClassVar[int]
    PARENT_CHARS_FIELD_NUMBER: _ClassVar[int]
    KV_MIXED_FIELD_NUMBER: _ClassVar[int]
    token_ids: bytes
    logprobs: bytes
    weight_versions: _containers.RepeatedCompositeFieldContainer[_common_pb2.WeightSpan]
    started_at: float
    finished_at: float
    entropies: bytes
    parent_chars: int
    kv_mixed: bool
    def __init__(self, token_ids: _Optional[bytes] = ..., logprobs: _Optional[bytes] = ..., weight_versions: _Optional[_Iterable[_Union[_common_pb2.WeightSpan, _Mapping]]] = ..., started_at: _Optional[float] = ..., finished_at: _Optional[float] = ..., entropies: _Optional[bytes] = ..., parent_chars: _Optional[int] = ..., kv_mixed: _Optional[bool] = ...) -> None: ...

class BranchEnd(_message.Message):
    __slots__ = ("reason", "dropped_tokens", "error")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DROPPED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    reason: EndReason
    dropped_tokens: int
    error: str
    def __init__(self, reason: _Optional[_Union[EndReason, str]] = ..., dropped_tokens: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("running", "waiting", "kv_usage", "preempted", "generated_tokens")
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    KV_USAGE_FIELD_NUMBER: _ClassVar[int]
    PREEMPTED_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    running: int
    waiting: int
    kv_usage: float
    preempted: int
    generated_tokens: int
    def __init__(self, running: _Optional[int] = ..., waiting: _Optional[int] = ..., kv_usage: _Optional[float] = ..., preempted: _Optional[int] = ..., generated_tokens: _Optional[int] = ...) -> None: ...

class CoordinatorMessage(_message.Message):
    __slots__ = ("welcome", "commands")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    commands: Commands
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., commands: _Optional[_Union[Commands, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("epoch", "acked_seq", "heartbeat_s", "run_ahead", "incarnation", "life")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACKED_SEQ_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_S_FIELD_NUMBER: _ClassVar[int]
    RUN_AHEAD_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    LIFE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    acked_seq: int
    heartbeat_s: float
    run_ahead: int
    incarnation: int
    life: int
    def __init__(self, epoch: _Optional[int] = ..., acked_seq: _Optional[int] = ..., heartbeat_s: _Optional[float] = ..., run_ahead: _Optional[int] = ..., incarnation: _Optional[int] = ..., life: _Optional[int] = ...) -> None: ...

class Draining(_message.Message):
    __slots__ = ("within_s", "cause", "preempted")
    WITHIN_S_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    PREEMPTED_FIELD_NUMBER: _ClassVar[int]
    within_s: float
    cause: str
    preempted: bool
    def __init__(self, within_s: _Optional[float] = ..., cause: _Optional[str] = ..., preempted: _Optional[bool] = ...) -> None: ...

class Commands(_message.Message):
    __slots__ = ("acked_seq", "stops", "starts", "paused", "forget_trees", "stage_weights", "flip_weights", "draining")
    ACKED_SEQ_FIELD_NUMBER: _ClassVar[int]
    STOPS_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    FORGET_TREES_FIELD_NUMBER: _ClassVar[int]
    STAGE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    FLIP_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    acked_seq: int
    stops: _containers.RepeatedCompositeFieldContainer[StopBranch]
    starts: _containers.RepeatedCompositeFieldContainer[StartBranch]
    paused: bool
    forget_trees: _containers.RepeatedScalarFieldContainer[str]
    stage_weights: StageWeights
    flip_weights: FlipWeights
    draining: Draining
    def __init__(self, acked_seq: _Optional[int] = ..., stops: _Optional[_Iterable[_Union[StopBranch, _Mapping]]] = ..., starts: _Optional[_Iterable[_Union[StartBranch, _Mapping]]] = ..., paused: _Optional[bool] = ..., forget_trees: _Optional[_Iterable[str]] = ..., stage_weights: _Optional[_Union[StageWeights, _Mapping]] = ..., flip_weights: _Optional[_Union[FlipWeights, _Mapping]] = ..., draining: _Optional[_Union[Draining, _Mapping]] = ...) -> None: ...

class StageWeights(_message.Message):
    __slots__ = ("version", "path", "digest")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    version: int
    path: str
    digest: str
    def __init__(self, version: _Optional[int] = ..., path: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class FlipWeights(_message.Message):
    __slots__ = ("version", "recompute")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTE_FIELD_NUMBER: _ClassVar[int]
    version: int
    recompute: bool
    def __init__(self, version: _Optional[int] = ..., recompute: _Optional[bool] = ...) -> None: ...

class WeightsReport(_message.Message):
    __slots__ = ("version", "digest", "state", "seconds", "error")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    version: int
    digest: str
    state: WeightsState
    seconds: float
    error: str
    def __init__(self, version: _Optional[int] = ..., digest: _Optional[str] = ..., state: _Optional[_Union[WeightsState, str]] = ..., seconds: _Optional[float] = ..., error: _Optional[str] = ...) -> None: ...

class StartBranch(_message.Message):
    __slots__ = ("grant", "prefix_ids", "prompt_tokens", "boundaries", "max_total", "hold", "sampling", "cache_salt", "seed", "priority", "tree_id", "prefix_tokens", "prefix_grant", "prefix_tail", "cut_from", "delimiter", "inserted_ids", "inserted_text", "branch", "attempt", "traceparent")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    PREFIX_IDS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    BOUNDARIES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOTAL_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    CACHE_SALT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TREE_ID_FIELD_NUMBER: _ClassVar[int]
    PREFIX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_GRANT_FIELD_NUMBER: _ClassVar[int]
    PREFIX_TAIL_FIELD_NUMBER: _ClassVar[int]
    CUT_FROM_FIELD_NUMBER: _ClassVar[int]
    DELIMITER_FIELD_NUMBER: _ClassVar[int]
    INSERTED_IDS_FIELD_NUMBER: _ClassVar[int]
    INSERTED_TEXT_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    grant: int
    prefix_ids: bytes
    prompt_tokens: int
    boundaries: _containers.RepeatedScalarFieldContainer[int]
    max_total: int
    hold: bool
    sampling: Sampling
    cache_salt: str
    seed: int
    priority: int
    tree_id: str
    prefix_tokens: int
    prefix_grant: int
    prefix_tail: str
    cut_from: int
    delimiter: Delimiter
    inserted_ids: bytes
    inserted_text: str
    branch: str
    attempt: int
    traceparent: str
    def __init__(self, grant: _Optional[int] = ..., prefix_ids: _Optional[bytes] = ..., prompt_tokens: _Optional[int] = ..., boundaries: _Optional[_Iterable[int]] = ..., max_total: _Optional[int] = ..., hold: _Optional[bool] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., cache_salt: _Optional[str] = ..., seed: _Optional[int] = ..., priority: _Optional[int] = ..., tree_id: _Optional[str] = ..., prefix_tokens: _Optional[int] = ..., prefix_grant: _Optional[int] = ..., prefix_tail: _Optional[str] = ..., cut_from: _Optional[int] = ..., delimiter: _Optional[_Union[Delimiter, _Mapping]] = ..., inserted_ids: _Optional[bytes] = ..., inserted_text: _Optional[str] = ..., branch: _Optional[str] = ..., attempt: _Optional[int] = ..., traceparent: _Optional[str] = ...) -> None: ...

class Delimiter(_message.Message):
    __slots__ = ("texts", "token_ids")
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, texts: _Optional[_Iterable[str]] = ..., token_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_p", "top_k", "stop_token_ids", "top_logprobs", "per_request_seed", "ignore_eos", "eos_token_ids", "min_p", "repetition_penalty", "min_tokens", "stop")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    STOP_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    PER_REQUEST_SEED_FIELD_NUMBER: _ClassVar[int]
    IGNORE_EOS_FIELD_NUMBER: _ClassVar[int]
    EOS_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    MIN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    top_k: int
    stop_token_ids: _containers.RepeatedScalarFieldContainer[int]
    top_logprobs: int
    per_request_seed: bool
    ignore_eos: bool
    eos_token_ids: _containers.RepeatedScalarFieldContainer[int]
    min_p: float
    repetition_penalty: float
    min_tokens: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., stop_token_ids: _Optional[_Iterable[int]] = ..., top_logprobs: _Optional[int] = ..., per_request_seed: _Optional[bool] = ..., ignore_eos: _Optional[bool] = ..., eos_token_ids: _Optional[_Iterable[int]] = ..., min_p: _Optional[float] = ..., repetition_penalty: _Optional[float] = ..., min_tokens: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ...) -> None: ...

class StopBranch(_message.Message):
    __slots__ = ("grant",)
    GRANT_FIELD_NUMBER: _ClassVar[int]
    grant: int
    def __init__(self, grant: _Optional[int] = ...) -> None: ...

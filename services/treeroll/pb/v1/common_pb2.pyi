from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EngineInfo(_message.Message):
    __slots__ = ("engine", "engine_version", "model", "block_size", "max_model_len", "slots", "kv_tokens", "logprobs_mode")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_LEN_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    KV_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_MODE_FIELD_NUMBER: _ClassVar[int]
    engine: str
    engine_version: str
    model: str
    block_size: int
    max_model_len: int
    slots: int
    kv_tokens: int
    logprobs_mode: str
    def __init__(self, engine: _Optional[str] = ..., engine_version: _Optional[str] = ..., model: _Optional[str] = ..., block_size: _Optional[int] = ..., max_model_len: _Optional[int] = ..., slots: _Optional[int] = ..., kv_tokens: _Optional[int] = ..., logprobs_mode: _Optional[str] = ...) -> None: ...

class Origin(_message.Message):
    __slots__ = ("version", "host", "model_digest", "software", "gpus", "metrics")
    class SoftwareEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    version: str
    host: str
    model_digest: str
    software: _containers.ScalarMap[str, str]
    gpus: _containers.RepeatedScalarFieldContainer[str]
    metrics: str
    def __init__(self, version: _Optional[str] = ..., host: _Optional[str] = ..., model_digest: _Optional[str] = ..., software: _Optional[_Mapping[str, str]] = ..., gpus: _Optional[_Iterable[str]] = ..., metrics: _Optional[str] = ...) -> None: ...

class WeightSpan(_message.Message):
    __slots__ = ("version", "tokens")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    version: int
    tokens: int
    def __init__(self, version: _Optional[int] = ..., tokens: _Optional[int] = ...) -> None: ...

class Reward(_message.Message):
    __slots__ = ("scorer", "version", "value", "error")
    SCORER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    scorer: str
    version: int
    value: float
    error: str
    def __init__(self, scorer: _Optional[str] = ..., version: _Optional[int] = ..., value: _Optional[float] = ..., error: _Optional[str] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("number", "parent", "path", "depth", "sibling_index", "token_start", "token_ids", "logprobs", "text", "weight_versions", "branch_reason", "decision", "status", "stop_reason", "replica_id", "incarnation", "attempt", "cached_tokens", "recomputed_tokens", "started_at", "finished_at", "dropped_tokens", "rewards", "value", "n_leaves", "tin", "tout", "entropies", "group", "parent_chars", "temperature", "observation_tokens", "inserted_tokens", "max_tokens", "model", "kv_mixed", "end", "observation_chars", "why", "ended_by", "waited_s", "masked_by")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    SIBLING_INDEX_FIELD_NUMBER: _ClassVar[int]
    TOKEN_START_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    BRANCH_REASON_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REWARDS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    N_LEAVES_FIELD_NUMBER: _ClassVar[int]
    TIN_FIELD_NUMBER: _ClassVar[int]
    TOUT_FIELD_NUMBER: _ClassVar[int]
    ENTROPIES_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PARENT_CHARS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    INSERTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    KV_MIXED_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_CHARS_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    ENDED_BY_FIELD_NUMBER: _ClassVar[int]
    WAITED_S_FIELD_NUMBER: _ClassVar[int]
    MASKED_BY_FIELD_NUMBER: _ClassVar[int]
    number: int
    parent: int
    path: str
    depth: int
    sibling_index: int
    token_start: int
    token_ids: bytes
    logprobs: bytes
    text: str
    weight_versions: _containers.RepeatedCompositeFieldContainer[WeightSpan]
    branch_reason: str
    decision: str
    status: str
    stop_reason: str
    replica_id: str
    incarnation: int
    attempt: int
    cached_tokens: int
    recomputed_tokens: int
    started_at: float
    finished_at: float
    dropped_tokens: int
    rewards: _containers.RepeatedCompositeFieldContainer[Reward]
    value: float
    n_leaves: int
    tin: int
    tout: int
    entropies: bytes
    group: int
    parent_chars: int
    temperature: float
    observation_tokens: int
    inserted_tokens: int
    max_tokens: int
    model: str
    kv_mixed: bool
    end: str
    observation_chars: int
    why: Why
    ended_by: Why
    waited_s: float
    masked_by: str
    def __init__(self, number: _Optional[int] = ..., parent: _Optional[int] = ..., path: _Optional[str] = ..., depth: _Optional[int] = ..., sibling_index: _Optional[int] = ..., token_start: _Optional[int] = ..., token_ids: _Optional[bytes] = ..., logprobs: _Optional[bytes] = ..., text: _Optional[str] = ..., weight_versions: _Optional[_Iterable[_Union[WeightSpan, _Mapping]]] = ..., branch_reason: _Optional[str] = ..., decision: _Optional[str] = ..., status: _Optional[str] = ..., stop_reason: _Optional[str] = ..., replica_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., attempt: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., recomputed_tokens: _Optional[int] = ..., started_at: _Optional[float] = ..., finished_at: _Optional[float] = ..., dropped_tokens: _Optional[int] = ..., rewards: _Optional[_Iterable[_Union[Reward, _Mapping]]] = ..., value: _Optional[float] = ..., n_leaves: _Optional[int] = ..., tin: _Optional[int] = ..., tout: _Optional[int] = ..., entropies: _Optional[bytes] = ..., group: _Optional[int] = ..., parent_chars: _Optional[int] = ..., temperature: _Optional[float] = ..., observation_tokens: _Optional[int] = ..., inserted_tokens: _Optional[int] = ..., max_tokens: _Optional[int] = ..., model: _Optional[str] = ..., kv_mixed: _Optional[bool] = ..., end: _Optional[str] = ..., observation_chars: _Optional[int] = ..., why: _Optional[_Union[Why, _Mapping]] = ..., ended_by: _Optional[_Union[Why, _Mapping]] = ..., waited_s: _Optional[float] = ..., masked_by: _Optional[str] = ...) -> None: ...

class Why(_message.Message):
    __slots__ = ("rule", "terms")
    RULE_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    rule: str
    terms: _containers.RepeatedCompositeFieldContainer[Term]
    def __init__(self, rule: _Optional[str] = ..., terms: _Optional[_Iterable[_Union[Term, _Mapping]]] = ...) -> None: ...

class Term(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class PathEnd(_message.Message):
    __slots__ = ("node", "why")
    NODE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    node: int
    why: Why
    def __init__(self, node: _Optional[int] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class LeafCredit(_message.Message):
    __slots__ = ("leaf", "path_weight", "advantages", "reward_status", "reward")
    LEAF_FIELD_NUMBER: _ClassVar[int]
    PATH_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ADVANTAGES_FIELD_NUMBER: _ClassVar[int]
    REWARD_STATUS_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    leaf: int
    path_weight: float
    advantages: bytes
    reward_status: str
    reward: float
    def __init__(self, leaf: _Optional[int] = ..., path_weight: _Optional[float] = ..., advantages: _Optional[bytes] = ..., reward_status: _Optional[str] = ..., reward: _Optional[float] = ...) -> None: ...

class Ledger(_message.Message):
    __slots__ = ("granted", "spent", "returned", "outstanding", "excess")
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    EXCESS_FIELD_NUMBER: _ClassVar[int]
    granted: int
    spent: int
    returned: int
    outstanding: int
    excess: int
    def __init__(self, granted: _Optional[int] = ..., spent: _Optional[int] = ..., returned: _Optional[int] = ..., outstanding: _Optional[int] = ..., excess: _Optional[int] = ...) -> None: ...

class Tree(_message.Message):
    __slots__ = ("tree_id", "run_id", "task_id", "epoch", "prompt_text", "status", "error", "nodes", "leaves", "n_scored", "n_censored", "ledger", "temperature", "top_p", "top_k", "logprobs_mode", "tokenizer_hash", "extra_json", "lost_tokens_max", "answer", "has_cuts", "allotted_leaves", "model", "stop_reason", "wall_s", "most_leaves", "min_p", "repetition_penalty", "min_tokens", "stop", "stop_token_ids", "weight_version", "number", "seen", "dropped_by", "submitted_at", "started_at", "ended_at", "n_nodes", "late_tokens", "dropped_tokens", "pruned_tokens", "censored_tokens", "replicas", "allotted_by", "path_ends")
    TREE_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TEXT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    N_SCORED_FIELD_NUMBER: _ClassVar[int]
    N_CENSORED_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_MODE_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_HASH_FIELD_NUMBER: _ClassVar[int]
    EXTRA_JSON_FIELD_NUMBER: _ClassVar[int]
    LOST_TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    HAS_CUTS_FIELD_NUMBER: _ClassVar[int]
    ALLOTTED_LEAVES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    WALL_S_FIELD_NUMBER: _ClassVar[int]
    MOST_LEAVES_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    MIN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    STOP_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_VERSION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BY_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    N_NODES_FIELD_NUMBER: _ClassVar[int]
    LATE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PRUNED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CENSORED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ALLOTTED_BY_FIELD_NUMBER: _ClassVar[int]
    PATH_ENDS_FIELD_NUMBER: _ClassVar[int]
    tree_id: str
    run_id: str
    task_id: str
    epoch: int
    prompt_text: str
    status: str
    error: str
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    leaves: _containers.RepeatedCompositeFieldContainer[LeafCredit]
    n_scored: int
    n_censored: int
    ledger: Ledger
    temperature: float
    top_p: float
    top_k: int
    logprobs_mode: str
    tokenizer_hash: str
    extra_json: str
    lost_tokens_max: int
    answer: str
    has_cuts: bool
    allotted_leaves: int
    model: str
    stop_reason: str
    wall_s: float
    most_leaves: int
    min_p: float
    repetition_penalty: float
    min_tokens: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    stop_token_ids: _containers.RepeatedScalarFieldContainer[int]
    weight_version: int
    number: int
    seen: TaskSeen
    dropped_by: str
    submitted_at: float
    started_at: float
    ended_at: float
    n_nodes: int
    late_tokens: int
    dropped_tokens: int
    pruned_tokens: int
    censored_tokens: int
    replicas: _containers.RepeatedScalarFieldContainer[str]
    allotted_by: Why
    path_ends: _containers.RepeatedCompositeFieldContainer[PathEnd]
    def __init__(self, tree_id: _Optional[str] = ..., run_id: _Optional[str] = ..., task_id: _Optional[str] = ..., epoch: _Optional[int] = ..., prompt_text: _Optional[str] = ..., status: _Optional[str] = ..., error: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., leaves: _Optional[_Iterable[_Union[LeafCredit, _Mapping]]] = ..., n_scored: _Optional[int] = ..., n_censored: _Optional[int] = ..., ledger: _Optional[_Union[Ledger, _Mapping]] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., logprobs_mode: _Optional[str] = ..., tokenizer_hash: _Optional[str] = ..., extra_json: _Optional[str] = ..., lost_tokens_max: _Optional[int] = ..., answer: _Optional[str] = ..., has_cuts: _Optional[bool] = ..., allotted_leaves: _Optional[int] = ..., model: _Optional[str] = ..., stop_reason: _Optional[str] = ..., wall_s: _Optional[float] = ..., most_leaves: _Optional[int] = ..., min_p: _Optional[float] = ..., repetition_penalty: _Optional[float] = ..., min_tokens: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., stop_token_ids: _Optional[_Iterable[int]] = ..., weight_version: _Optional[int] = ..., number: _Optional[int] = ..., seen: _Optional[_Union[TaskSeen, _Mapping]] = ..., dropped_by: _Optional[str] = ..., submitted_at: _Optional[float] = ..., started_at: _Optional[float] = ..., ended_at: _Optional[float] = ..., n_nodes: _Optional[int] = ..., late_tokens: _Optional[int] = ..., dropped_tokens: _Optional[int] = ..., pruned_tokens: _Optional[int] = ..., censored_tokens: _Optional[int] = ..., replicas: _Optional[_Iterable[str]] = ..., allotted_by: _Optional[_Union[Why, _Mapping]] = ..., path_ends: _Optional[_Iterable[_Union[PathEnd, _Mapping]]] = ...) -> None: ...

class TaskSeen(_message.Message):
    __slots__ = ("successes", "scored", "tokens")
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    successes: float
    scored: float
    tokens: float
    def __init__(self, successes: _Optional[float] = ..., scored: _Optional[float] = ..., tokens: _Optional[float] = ...) -> None: ...

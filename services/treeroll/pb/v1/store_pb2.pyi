from treeroll.pb.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TreeOwner(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class JournalEntry(_message.Message):
    __slots__ = ("nodes", "planted", "reported", "lost", "cut", "ended", "asked", "timed_out", "judged", "abstained", "faulted", "overtaken", "carried")
    class Planted(_message.Message):
        __slots__ = ("admitted", "home", "model", "block_size", "max_model_len", "at", "weight_version", "charge", "promised", "placed", "asked", "leaves", "seen", "first_grant", "allotted_by")
        ADMITTED_FIELD_NUMBER: _ClassVar[int]
        HOME_FIELD_NUMBER: _ClassVar[int]
        MODEL_FIELD_NUMBER: _ClassVar[int]
        BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
        MAX_MODEL_LEN_FIELD_NUMBER: _ClassVar[int]
        AT_FIELD_NUMBER: _ClassVar[int]
        WEIGHT_VERSION_FIELD_NUMBER: _ClassVar[int]
        CHARGE_FIELD_NUMBER: _ClassVar[int]
        PROMISED_FIELD_NUMBER: _ClassVar[int]
        PLACED_FIELD_NUMBER: _ClassVar[int]
        ASKED_FIELD_NUMBER: _ClassVar[int]
        LEAVES_FIELD_NUMBER: _ClassVar[int]
        SEEN_FIELD_NUMBER: _ClassVar[int]
        FIRST_GRANT_FIELD_NUMBER: _ClassVar[int]
        ALLOTTED_BY_FIELD_NUMBER: _ClassVar[int]
        admitted: int
        home: str
        model: str
        block_size: int
        max_model_len: int
        at: float
        weight_version: int
        charge: float
        promised: float
        placed: bool
        asked: bool
        leaves: int
        seen: _common_pb2.TaskSeen
        first_grant: int
        allotted_by: _common_pb2.Why
        def __init__(self, admitted: _Optional[int] = ..., home: _Optional[str] = ..., model: _Optional[str] = ..., block_size: _Optional[int] = ..., max_model_len: _Optional[int] = ..., at: _Optional[float] = ..., weight_version: _Optional[int] = ..., charge: _Optional[float] = ..., promised: _Optional[float] = ..., placed: _Optional[bool] = ..., asked: _Optional[bool] = ..., leaves: _Optional[int] = ..., seen: _Optional[_Union[_common_pb2.TaskSeen, _Mapping]] = ..., first_grant: _Optional[int] = ..., allotted_by: _Optional[_Union[_common_pb2.Why, _Mapping]] = ...) -> None: ...
    class Reported(_message.Message):
        __slots__ = ("branch", "tokens", "end", "replica_id")
        BRANCH_FIELD_NUMBER: _ClassVar[int]
        TOKENS_FIELD_NUMBER: _ClassVar[int]
        END_FIELD_NUMBER: _ClassVar[int]
        REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
        branch: int
        tokens: int
        end: str
        replica_id: str
        def __init__(self, branch: _Optional[int] = ..., tokens: _Optional[int] = ..., end: _Optional[str] = ..., replica_id: _Optional[str] = ...) -> None: ...
    class Lost(_message.Message):
        __slots__ = ("branch", "refused")
        BRANCH_FIELD_NUMBER: _ClassVar[int]
        REFUSED_FIELD_NUMBER: _ClassVar[int]
        branch: int
        refused: str
        def __init__(self, branch: _Optional[int] = ..., refused: _Optional[str] = ...) -> None: ...
    class Cut(_message.Message):
        __slots__ = ("branch", "reason", "error", "why")
        BRANCH_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        WHY_FIELD_NUMBER: _ClassVar[int]
        branch: int
        reason: str
        error: str
        why: _common_pb2.Why
        def __init__(self, branch: _Optional[int] = ..., reason: _Optional[str] = ..., error: _Optional[str] = ..., why: _Optional[_Union[_common_pb2.Why, _Mapping]] = ...) -> None: ...
    class Ended(_message.Message):
        __slots__ = ("reason", "error", "waiting")
        REASON_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        WAITING_FIELD_NUMBER: _ClassVar[int]
        reason: str
        error: str
        waiting: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, reason: _Optional[str] = ..., error: _Optional[str] = ..., waiting: _Optional[_Iterable[int]] = ...) -> None: ...
    class Judged(_message.Message):
        __slots__ = ("node", "value")
        NODE_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        node: int
        value: float
        def __init__(self, node: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...
    NODES_FIELD_NUMBER: _ClassVar[int]
    PLANTED_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    TIMED_OUT_FIELD_NUMBER: _ClassVar[int]
    JUDGED_FIELD_NUMBER: _ClassVar[int]
    ABSTAINED_FIELD_NUMBER: _ClassVar[int]
    FAULTED_FIELD_NUMBER: _ClassVar[int]
    OVERTAKEN_FIELD_NUMBER: _ClassVar[int]
    CARRIED_FIELD_NUMBER: _ClassVar[int]
    nodes: int
    planted: JournalEntry.Planted
    reported: JournalEntry.Reported
    lost: JournalEntry.Lost
    cut: JournalEntry.Cut
    ended: JournalEntry.Ended
    asked: bool
    timed_out: bool
    judged: JournalEntry.Judged
    abstained: int
    faulted: bool
    overtaken: int
    carried: int
    def __init__(self, nodes: _Optional[int] = ..., planted: _Optional[_Union[JournalEntry.Planted, _Mapping]] = ..., reported: _Optional[_Union[JournalEntry.Reported, _Mapping]] = ..., lost: _Optional[_Union[JournalEntry.Lost, _Mapping]] = ..., cut: _Optional[_Union[JournalEntry.Cut, _Mapping]] = ..., ended: _Optional[_Union[JournalEntry.Ended, _Mapping]] = ..., asked: _Optional[bool] = ..., timed_out: _Optional[bool] = ..., judged: _Optional[_Union[JournalEntry.Judged, _Mapping]] = ..., abstained: _Optional[int] = ..., faulted: _Optional[bool] = ..., overtaken: _Optional[int] = ..., carried: _Optional[int] = ...) -> None: ...

class RunMemory(_message.Message):
    __slots__ = ("charged", "ended", "ended_tokens", "failing", "failure", "costs", "leaf_costs", "models", "bucket_level", "bucket_at", "fingerprint", "ground", "pools")
    class GroundEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CHARGED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    ENDED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FAILING_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    COSTS_FIELD_NUMBER: _ClassVar[int]
    LEAF_COSTS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    BUCKET_LEVEL_FIELD_NUMBER: _ClassVar[int]
    BUCKET_AT_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    GROUND_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    charged: float
    ended: int
    ended_tokens: int
    failing: int
    failure: str
    costs: _containers.RepeatedScalarFieldContainer[int]
    leaf_costs: _containers.RepeatedScalarFieldContainer[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelMemory]
    bucket_level: int
    bucket_at: float
    fingerprint: str
    ground: _containers.ScalarMap[str, str]
    pools: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, charged: _Optional[float] = ..., ended: _Optional[int] = ..., ended_tokens: _Optional[int] = ..., failing: _Optional[int] = ..., failure: _Optional[str] = ..., costs: _Optional[_Iterable[int]] = ..., leaf_costs: _Optional[_Iterable[int]] = ..., models: _Optional[_Iterable[_Union[ModelMemory, _Mapping]]] = ..., bucket_level: _Optional[int] = ..., bucket_at: _Optional[float] = ..., fingerprint: _Optional[str] = ..., ground: _Optional[_Mapping[str, str]] = ..., pools: _Optional[_Iterable[str]] = ...) -> None: ...

class ModelMemory(_message.Message):
    __slots__ = ("model", "whole", "whole_tokens")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    WHOLE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    model: str
    whole: int
    whole_tokens: int
    def __init__(self, model: _Optional[str] = ..., whole: _Optional[int] = ..., whole_tokens: _Optional[int] = ...) -> None: ...

class PoolModel(_message.Message):
    __slots__ = ("digest", "engine", "context", "path", "replica_id", "host")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    engine: str
    context: int
    path: str
    replica_id: str
    host: str
    def __init__(self, digest: _Optional[str] = ..., engine: _Optional[str] = ..., context: _Optional[int] = ..., path: _Optional[str] = ..., replica_id: _Optional[str] = ..., host: _Optional[str] = ...) -> None: ...

class ReplicaSession(_message.Message):
    __slots__ = ("incarnation", "process", "seq", "lost")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    incarnation: int
    process: int
    seq: int
    lost: bool
    def __init__(self, incarnation: _Optional[int] = ..., process: _Optional[int] = ..., seq: _Optional[int] = ..., lost: _Optional[bool] = ...) -> None: ...

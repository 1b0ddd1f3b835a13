from treeroll.pb.v1 import replica_pb2 as _replica_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProcessEnd(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROCESS_END_UNSPECIFIED: _ClassVar[ProcessEnd]
    PROCESS_END_PREEMPTED: _ClassVar[ProcessEnd]
    PROCESS_END_STOPPED: _ClassVar[ProcessEnd]
PROCESS_END_UNSPECIFIED: ProcessEnd
PROCESS_END_PREEMPTED: ProcessEnd
PROCESS_END_STOPPED: ProcessEnd

class FleetReport(_message.Message):
    __slots__ = ("fleet", "kept", "restarts", "lost", "draining", "version", "wanted", "not_scheduled")
    class KeptEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class RestartsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class WantedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    FLEET_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    NOT_SCHEDULED_FIELD_NUMBER: _ClassVar[int]
    fleet: str
    kept: _containers.ScalarMap[str, int]
    restarts: _containers.ScalarMap[str, int]
    lost: _containers.RepeatedCompositeFieldContainer[LostReplica]
    draining: _containers.RepeatedCompositeFieldContainer[DrainingReplica]
    version: str
    wanted: _containers.ScalarMap[str, int]
    not_scheduled: _containers.RepeatedCompositeFieldContainer[NotScheduled]
    def __init__(self, fleet: _Optional[str] = ..., kept: _Optional[_Mapping[str, int]] = ..., restarts: _Optional[_Mapping[str, int]] = ..., lost: _Optional[_Iterable[_Union[LostReplica, _Mapping]]] = ..., draining: _Optional[_Iterable[_Union[DrainingReplica, _Mapping]]] = ..., version: _Optional[str] = ..., wanted: _Optional[_Mapping[str, int]] = ..., not_scheduled: _Optional[_Iterable[_Union[NotScheduled, _Mapping]]] = ...) -> None: ...

class NotScheduled(_message.Message):
    __slots__ = ("replica_id", "pool", "why")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    pool: str
    why: str
    def __init__(self, replica_id: _Optional[str] = ..., pool: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class DrainingReplica(_message.Message):
    __slots__ = ("replica_id", "process", "draining")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    process: int
    draining: _replica_pb2.Draining
    def __init__(self, replica_id: _Optional[str] = ..., process: _Optional[int] = ..., draining: _Optional[_Union[_replica_pb2.Draining, _Mapping]] = ...) -> None: ...

class LostReplica(_message.Message):
    __slots__ = ("replica_id", "process", "cause", "end")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    process: int
    cause: str
    end: ProcessEnd
    def __init__(self, replica_id: _Optional[str] = ..., process: _Optional[int] = ..., cause: _Optional[str] = ..., end: _Optional[_Union[ProcessEnd, str]] = ...) -> None: ...

class FleetAnswer(_message.Message):
    __slots__ = ("epoch", "first_incarnation", "incarnations", "report_s", "scale", "drain")
    class IncarnationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    INCARNATIONS_FIELD_NUMBER: _ClassVar[int]
    REPORT_S_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    first_incarnation: int
    incarnations: _containers.ScalarMap[str, int]
    report_s: float
    scale: _containers.RepeatedCompositeFieldContainer[ScaleOrder]
    drain: _containers.RepeatedCompositeFieldContainer[DrainOrder]
    def __init__(self, epoch: _Optional[int] = ..., first_incarnation: _Optional[int] = ..., incarnations: _Optional[_Mapping[str, int]] = ..., report_s: _Optional[float] = ..., scale: _Optional[_Iterable[_Union[ScaleOrder, _Mapping]]] = ..., drain: _Optional[_Iterable[_Union[DrainOrder, _Mapping]]] = ...) -> None: ...

class ScaleOrder(_message.Message):
    __slots__ = ("pool", "replicas", "first", "within_s")
    POOL_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    WITHIN_S_FIELD_NUMBER: _ClassVar[int]
    pool: str
    replicas: int
    first: _containers.RepeatedScalarFieldContainer[str]
    within_s: float
    def __init__(self, pool: _Optional[str] = ..., replicas: _Optional[int] = ..., first: _Optional[_Iterable[str]] = ..., within_s: _Optional[float] = ...) -> None: ...

class DrainOrder(_message.Message):
    __slots__ = ("replica_id", "process", "draining", "elsewhere")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    ELSEWHERE_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    process: int
    draining: _replica_pb2.Draining
    elsewhere: bool
    def __init__(self, replica_id: _Optional[str] = ..., process: _Optional[int] = ..., draining: _Optional[_Union[_replica_pb2.Draining, _Mapping]] = ..., elsewhere: _Optional[bool] = ...) -> None: ...

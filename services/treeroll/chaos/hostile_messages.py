"""Messages that a hostile client or replica may send: each is made from a seed and its number alone, so that it can be
made again.

Some are by chance, most follow the protos: fields with values at the edges of what they may be, in names and numbers
that the service knows or half knows; and of what that gives, a part has bytes changed, cut, doubled or put in.
"""

import json
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from treeroll import __version__
from treeroll.config import RunConfig
from treeroll.demo import MODEL_DIR
from treeroll.model.facts import load_facts
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.pb.v1 import rollout_pb2 as api

METHODS = {method.name: method for method in api.DESCRIPTOR.services_by_name["Rollouts"].methods}
# Called less often: one reads the whole store, the others hold all growth up, and none reads anything of its request.
SELDOM = {"Audit": 0.1, "Drain": 0.02}
METHOD_NAMES, WEIGHTS = list(METHODS), [SELDOM.get(name, 1.0) for name in METHODS]
INTS = (
    0,
    1,
    2,
    3,
    7,
    31,
    32,
    255,
    1023,
    1024,
    65_536,
    10_001,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
FLOATS = (0.0, 1.0, 0.01, -1.0, 60.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    *(
        "",
        "a",
        "x" * 65,
        "x" * 5000,
        "1" * 400,
        "NaN",
        "-1",
        "1e999",
        "null",
        "math",
        "client",
        "{}",
        "*",
        str(MODEL_DIR),
    ),
    *(
        "a\x00b",
        "a\nINFO forged",
        "\x1b[2J",
        "%s%n",
        "[bold]",
        "\u202e",
        "\U0001f333" * 40,
        "\ufeff",
        "'; FLUSHALL; --",
    ),
    *("..", "../../../etc/passwd", "/dev/zero", "/proc/self/mem", "http://[", "http://127.0.0.1:1/"),
    *("regex:(a+)+$", "python:"),
)
RUNS = ("fuzz-0", "fuzz-1", "fuzz-2", "fuzz-3")
NAMES: dict[str, Sequence[str]] = {
    "run_id": RUNS,
    "task_id": ("t0", "t1", "t2"),
    "tree_id": ("fuzz-0/0/t0", "fuzz-1/0/t1"),
    "tree_ids": ("fuzz-0/0/t0", "fuzz-1/0/t1"),
    "group": ("g", "h"),
    "consumer": ("c", "d"),
    "lease_ids": ("1.1.c", "2.1.d", "1.2.c"),
    "scorer": ("client", "arith"),
    "text": ("2+2=", "1+1="),
    "pool": ("",),
}
KINDS = FieldDescriptor
UNSIGNED = {KINDS.TYPE_UINT32, KINDS.TYPE_UINT64, KINDS.TYPE_FIXED32, KINDS.TYPE_FIXED64}
NARROW = {KINDS.TYPE_INT32, KINDS.TYPE_UINT32, KINDS.TYPE_SINT32, KINDS.TYPE_FIXED32, KINDS.TYPE_SFIXED32}
WHOLE = {
    KINDS.TYPE_INT32, KINDS.TYPE_INT64, KINDS.TYPE_UINT32, KINDS.TYPE_UINT64, KINDS.TYPE_SINT32, KINDS.TYPE_SINT64,
    KINDS.TYPE_FIXED32, KINDS.TYPE_FIXED64, KINDS.TYPE_SFIXED32, KINDS.TYPE_SFIXED64,
}  # fmt: skip
MOST_DEEP = 4


def dice_of(seed: int, side: str, number: int) -> Random:
    """All chance that is in one message."""
    return Random(f"{seed}:{side}:{number}")  # noqa: S311 - no secret


def client_call(seed: int, number: int) -> tuple[str, bytes]:
    """A call of the Rollouts service: its method, and its request."""
    dice = dice_of(seed, "client", number)
    method = dice.choices(METHOD_NAMES, WEIGHTS)[0]
    if dice.random() < 0.05:
        return method, dice.randbytes(dice.choice((1, 10, 100, 1000)))
    return method, _spoilt(dice, built(dice, METHODS[method].input_type))


def replica_message(seed: int, number: int, grants: Sequence[wire.StartBranch] = ()) -> bytes:
    """A message of a session after its first one, of a replica that was told to start these branches."""
    dice = dice_of(seed, "replica", number)
    if dice.random() < 0.02:
        return dice.randbytes(dice.choice((1, 10, 100, 1000)))
    if dice.random() < 0.5:
        return _spoilt(dice, built(dice, wire.ReplicaMessage.DESCRIPTOR))
    report = wire.Report(seq=number, segments=[_segment(dice, grants) for _ in range(dice.choice((1, 1, 2, 8)))])
    return _spoilt(dice, wire.ReplicaMessage(report=report))


def hello(replica_id: str, incarnation: int) -> wire.Hello:
    """How an honest replica begins."""
    engine = pb.EngineInfo(
        engine="simulated", model="simulated", block_size=32, max_model_len=1024, slots=4, logprobs_mode="processed"
    )
    return wire.Hello(
        replica_id=replica_id, incarnation=incarnation, engine=engine, tokenizer_hash=load_facts(MODEL_DIR).hash,
        origin=pb.Origin(version=__version__),
    )  # fmt: skip


def hello_bytes(seed: int, number: int, replica_id: str, incarnation: int) -> bytes:
    """The first message of a session: an honest one, four times out of five."""
    dice, honest = dice_of(seed, "hello", number), hello(replica_id, incarnation)
    if dice.random() < 0.8:
        return wire.ReplicaMessage(hello=honest).SerializeToString()
    made = wire.ReplicaMessage(hello=honest)
    _change(dice, made.hello, 0)
    return _spoilt(dice, made)


def built(dice: Random, kind: Any, deep: int = 0) -> Message:
    """A message of this descriptor with some of its fields set."""
    made: Message = message_factory.GetMessageClass(kind)()
    share = dice.choice((0.3, 0.7, 0.95))
    for field in kind.fields:
        if dice.random() < share and deep < MOST_DEEP:
            _set(dice, made, field, deep)
    return made


def _change(dice: Random, made: Any, deep: int) -> None:
    field: Any = dice.choice(made.DESCRIPTOR.fields)
    made.ClearField(field.name)
    _set(dice, made, field, deep)


def _set(dice: Random, made: Any, field: FieldDescriptor, deep: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return
    if not field.is_repeated:
        if field.message_type is not None:
            getattr(made, field.name).CopyFrom(built(dice, field.message_type, deep + 1))
        else:
            setattr(made, field.name, _value(dice, field))
        return
    values = getattr(made, field.name)
    for _ in range(dice.choice((0, 1, 1, 2, 3)) if deep or dice.random() < 0.98 else 2000):
        if field.message_type is not None:
            values.add().CopyFrom(built(dice, field.message_type, deep + 1))
        else:
            values.append(_value(dice, field))


def _value(dice: Random, field: FieldDescriptor) -> Any:
    if field.type in WHOLE:
        return _whole(dice, field)
    made: dict[int, Callable[[], Any]] = {
        KINDS.TYPE_DOUBLE: lambda: dice.choice(FLOATS),
        KINDS.TYPE_FLOAT: lambda: dice.choice(FLOATS),
        KINDS.TYPE_BOOL: lambda: dice.random() < 0.5,
        KINDS.TYPE_ENUM: lambda: dice.choice((0, 1, 2, 3, 99, -1)),
        KINDS.TYPE_BYTES: lambda: dice.choice((b"", bytes(4), bytes(5), struct.pack("<4i", 5, 9, -1, 2**31 - 1))),
        KINDS.TYPE_STRING: lambda: _text(dice, field.name),
    }
    return made[field.type]()


def _whole(dice: Random, field: FieldDescriptor) -> int:
    value = dice.choice(INTS[:6]) if dice.random() < 0.6 else dice.choice(INTS)
    bits = 32 if field.type in NARROW else 64
    most = 2**bits if field.type in UNSIGNED else 2 ** (bits - 1)
    return int(value % most)


def _text(dice: Random, name: str) -> str:
    if name.endswith("_json"):
        return _json(dice, name)
    known = NAMES.get(name)
    return dice.choice(known) if known and dice.random() < 0.8 else dice.choice(TEXTS)


def _json(dice: Random, name: str) -> str:
    if dice.random() < 0.05:
        return dice.choice(("[" * 5000, '{"a":' * 200, "nul", "1e999", '"\\ud800"', *TEXTS))
    if name == "messages_json":
        return json.dumps([{"role": dice.choice(("user", "system", *TEXTS[:5])), "content": _odd(dice, 0)}])
    if name != "config_json":
        return json.dumps(_odd(dice, 0))
    config: dict[str, Any] = {
        "recipe": dice.choice(("flat", "treepo")),
        "leaves": 2,
        "segment_tokens": 32,
        "max_depth": 2,
    }
    for _ in range(dice.choice((0, 0, 1, 2, 6))):
        config[dice.choice([*RunConfig.model_fields, "x"])] = _odd(dice, 0)
    return json.dumps(config)


def _odd(dice: Random, deep: int) -> Any:
    roll = dice.random()
    if roll < 0.15 and deep < MOST_DEEP:
        return {dice.choice(TEXTS): _odd(dice, deep + 1) for _ in range(2)}
    if roll < 0.3 and deep < MOST_DEEP:
        return [_odd(dice, deep + 1) for _ in range(dice.choice((0, 1, 3)))]
    return dice.choice((None, True, False, *INTS, *FLOATS, *TEXTS, -1, 0.5, 10**400))


def _segment(dice: Random, grants: Sequence[wire.StartBranch]) -> wire.Segment:
    """A segment about as its branch would have it."""
    start = dice.choice(grants) if grants and dice.random() < 0.95 else wire.StartBranch(grant=dice.choice(INTS))
    ends = start.boundaries[0] - start.prefix_tokens if start.boundaries else 1
    tokens = dice.choice((ends, ends, ends, 0, 1, 7)) if dice.random() < 0.95 else dice.choice(INTS) % 2**32
    size = tokens if 0 <= tokens < 2000 else 1
    ids = struct.pack(f"<{size}i", *(dice.choice((5, 6, 7, 8)) for _ in range(size)))
    node = wire.SegmentNode(token_ids=ids, logprobs=bytes(4 * size), weight_versions=[pb.WeightSpan(tokens=size)])
    if dice.random() < 0.1:
        _change(dice, node, 0)
    segment = wire.Segment(grant=start.grant, tokens=tokens % 2**32, node=node.SerializeToString() if tokens else b"")
    segment.text = "x" * size if tokens else ""
    if dice.random() < 0.5:
        end: Any = segment.end
        end.reason, end.dropped_tokens = dice.choice((1, 1, 2, 3, 4, 5, 6, 7)), dice.choice((0, 0, 1, 2**32 - 1))
    if dice.random() < 0.2:
        _change(dice, segment, 1)
    return segment


def _spoilt(dice: Random, made: Message) -> bytes:
    raw = bytearray(made.SerializeToString())
    if not raw or dice.random() < 0.7:
        return bytes(raw)
    for _ in range(dice.choice((1, 1, 2, 5))):
        at = dice.randrange(len(raw) or 1)
        match dice.randrange(5):
            case 0 if at < len(raw):
                raw[at] = dice.randrange(256)
            case 1:
                del raw[at:]
            case 2:
                raw[at:at] = raw[at : at + dice.randrange(1, 40)]
            case 3:
                raw[at:at] = dice.randbytes(dice.choice((1, 2, 8)))
            case 4:
                del raw[at : at + dice.randrange(1, 8)]
    return bytes(raw)

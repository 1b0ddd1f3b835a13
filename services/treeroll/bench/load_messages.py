"""What a simulated replica sends, as bytes made once: a report is a join of them, not a tree of objects.

Written by hand in protobuf's wire format, because the machine that measures the coordinator also pays for its load.
Messages are those of `replica.proto`: tokens, logprobs, text of about 4 characters per token, times.
"""

import random

import numpy as np

from treeroll import __version__
from treeroll.demo import MODEL_DIR
from treeroll.model.facts import load_facts
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.wire import tag, varint
from treeroll.tree.tree import TAIL_CHARS

CHARS_PER_TOKEN = 4
# Different bodies of each length to draw from.
VARIETY = 64
VOCABULARY = 90

_SEQ, _SEGMENTS, _REPORT = tag(wire.Report, "seq"), tag(wire.Report, "segments"), tag(wire.ReplicaMessage, "report")


class SegmentBytes:
    """Parts of Segment messages. Every text is different from its neighbours, and none repeats itself."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - noise, not secrets
        self._noise = np.random.default_rng(seed)
        self._bodies: dict[tuple[int, wire.EndReason], list[bytes]] = {}
        self._tail = wire.Segment(tail=self._text(TAIL_CHARS)).SerializeToString()

    def head(self, grant: int) -> bytes:
        """What all segments of a grant begin with."""
        return wire.Segment(grant=grant).SerializeToString()

    def first_head(self, grant: int, prefix_tokens: int, has_completion: bool) -> bytes:
        """What the first segment of a grant begins with: all but one token of its prefix were cached."""
        head = wire.Segment(grant=grant, cached_tokens=prefix_tokens - 1).SerializeToString()
        return head + self._tail if has_completion else head

    def bodies(self, tokens: int, end: wire.EndReason = wire.END_REASON_UNSPECIFIED) -> list[bytes]:
        """What follows the head: any of these."""
        key = tokens, end
        if key not in self._bodies:
            self._bodies[key] = [self._body(tokens, end) for _ in range(VARIETY)]
        return self._bodies[key]

    def _body(self, tokens: int, end: wire.EndReason) -> bytes:
        segment = wire.Segment(tokens=tokens, text=self._text(CHARS_PER_TOKEN * tokens))
        if tokens:
            logprobs = -self._noise.exponential(0.5, tokens)
            segment.logprob_sum, segment.logprob_min = logprobs.sum(), logprobs.min()
            segment.node = self._node(logprobs.astype("<f4").tobytes(), tokens).SerializeToString()
        if end != wire.END_REASON_UNSPECIFIED:
            segment.end.reason = end
        return segment.SerializeToString()

    def _node(self, logprobs: bytes, tokens: int) -> pb.Node:
        ids = self._noise.integers(10, VOCABULARY, tokens, "<i4").tobytes()
        node = pb.Node(token_ids=ids, logprobs=logprobs)
        node.started_at, node.finished_at = 1.7e9 + self._random.random(), 1.7e9 + self._random.random()
        node.weight_versions.add(tokens=tokens)
        return node

    def _text(self, chars: int) -> str:
        text = ""
        while len(text) < chars:
            text += "".join(self._random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=self._random.randint(2, 8)))
            text += " "
        return text[:chars]


def report_bytes(seq: int, frames: list[bytes]) -> bytes:
    """ReplicaMessage with one report; `frames` are segments from `frame`."""
    report = b"".join((_SEQ, varint(seq), *frames))
    return b"".join((_REPORT, varint(len(report)), report))


def frame(head: bytes, body: bytes) -> bytes:
    """One segment as a field of a report."""
    return b"".join((_SEGMENTS, varint(len(head) + len(body)), head, body))


def hello(replica_id: str, slots: int, block_size: int, max_model_len: int) -> bytes:
    """The first message of a session of a replica with the demo model's tokenizer."""
    engine = pb.EngineInfo(
        engine="simulated", model="bench", block_size=block_size, max_model_len=max_model_len, slots=slots,
        kv_tokens=slots * max_model_len, logprobs_mode="processed",
    )  # fmt: skip
    said = wire.Hello(
        replica_id=replica_id, incarnation=1, engine=engine, tokenizer_hash=load_facts(MODEL_DIR).hash,
        origin=pb.Origin(version=__version__),
    )  # fmt: skip
    return wire.ReplicaMessage(hello=said).SerializeToString()


HEARTBEAT = wire.ReplicaMessage(
    heartbeat=wire.Heartbeat(running=64, kv_usage=0.4, generated_tokens=1 << 20)
).SerializeToString()

"""What is stored of replicas' sessions, so that a coordinator that takes over knows them, and their reports, again."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from treeroll.core.model.fleet import Replica
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.pb.v1 import store_pb2 as stored


class Mark(NamedTuple):
    """A replica's incarnation, the process that is it, and its last report so far, 0 if none."""

    replica_id: str
    incarnation: int
    process: int
    seq: int = 0

    @classmethod
    def of(cls, hello: wire.Hello, seq: int) -> "Mark":
        """The session that began with this."""
        return cls(hello.replica_id, hello.incarnation, hello.process, seq)

    def is_of(self, hello: wire.Hello) -> bool:
        """Whether it is the session that begins with this."""
        return (self.incarnation, self.process) == (hello.incarnation, hello.process)


def records(marks: Iterable[Mark], replicas: Mapping[str, Replica]) -> dict[str, bytes]:
    """Replica -> record of its session, by the last mark; nothing of those that have lost their leases meanwhile."""
    last = {mark.replica_id: mark for mark in marks}
    return {
        name: stored.ReplicaSession(
            incarnation=mark.incarnation, process=mark.process, seq=mark.seq
        ).SerializeToString()
        for name, mark in last.items()
        if (replica := replicas.get(name)) is not None and replica.incarnation == mark.incarnation
    }


def lost_record(incarnation: int) -> bytes:
    """The record of a session that has lost its lease."""
    return stored.ReplicaSession(incarnation=incarnation, lost=True).SerializeToString()


def marks_of(records: Mapping[str, bytes]) -> dict[str, Mark]:
    """The sessions that were served last, by replica."""
    found = {name: stored.ReplicaSession.FromString(record) for name, record in records.items()}
    return {name: Mark(name, one.incarnation, one.process, one.seq) for name, one in found.items() if not one.lost}

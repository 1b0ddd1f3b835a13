"""Why decisions were taken, in records: what policies said, as messages and back."""

from functools import lru_cache

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.why import Why


def why_record(why: Why | None) -> pb.Why | None:
    """As a message."""
    if why is None:
        return None
    return pb.Why(rule=why.rule, terms=[pb.Term(name=name, value=value) for name, value in why.terms])


def why_of(record: pb.Why) -> Why:
    """The same back."""
    return Why(record.rule, tuple((term.name, term.value) for term in record.terms))


@lru_cache(maxsize=8192)
def node_why(why: Why) -> bytes:
    """Node.why, serialised. Branches of one decision have it in common."""
    return pb.Node(why=why_record(why)).SerializeToString()


@lru_cache(maxsize=8192)
def node_ended_by(why: Why) -> bytes:
    """Node.ended_by, serialised."""
    return pb.Node(ended_by=why_record(why)).SerializeToString()

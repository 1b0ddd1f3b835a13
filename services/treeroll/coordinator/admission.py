"""Which replicas may join: their version, what they read and say, and figures that can be."""

import re

from treeroll import __version__
from treeroll.core.model.pool_model import PoolModel
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.tokenizer import Tokenizer
from treeroll.versions import work_together

MOST_SLOTS, MOST_NAMED, MOST_ORIGIN_BYTES = 65_536, 100_000, 4096
"""Branches that a replica may say to decode at once; grants and trees that it may name, and what it may say of itself,
when it joins."""
# It stands in logs and in tables.
REPLICA_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_hello(hello: wire.Hello, tokenizer: Tokenizer, logprobs_mode: str) -> None:
    """InvalidInput for another version, for what reads other ids or says other log probabilities than the service, and
    for figures that cannot be. Whether its model is its pool's, the core says."""
    name, engine, context = hello.replica_id, hello.engine, tokenizer.max_model_len
    if not REPLICA_ID.fullmatch(name):
        raise InvalidInput(f"replica id {name[:200]!r} must be 1 to 64 of letters, digits, '.', '_' and '-'")
    if hello.origin.ByteSize() > MOST_ORIGIN_BYTES:
        raise InvalidInput(f"replica {name} says more than {MOST_ORIGIN_BYTES} bytes of what it is made of")
    _check_version(hello)
    if hello.tokenizer_hash != tokenizer.hash:
        raise InvalidInput(
            f"replica {name} serves {engine.model} with tokenizer {hello.tokenizer_hash or 'unknown'}, but the "
            f"service has {tokenizer.hash}: its ids would mean something else"
        )
    if engine.logprobs_mode != logprobs_mode:
        raise InvalidInput(
            f"replica {name} on {node_of(hello)} says {engine.logprobs_mode or 'unknown'} log probabilities, and the "
            f"service's trees have {logprobs_mode} ones: set generator.logprobs_mode alike for both"
        )
    if engine.slots > MOST_SLOTS:
        raise InvalidInput(f"replica {name} says to have {engine.slots} slots; it may have up to {MOST_SLOTS}")
    if max(len(hello.live_grants), len(hello.kept_trees)) > MOST_NAMED:
        raise InvalidInput(f"replica {name} names more than {MOST_NAMED} grants or trees")
    if engine.max_model_len < context:
        raise InvalidInput(
            f"replica {name} has a context of {engine.max_model_len} tokens, but prompts may have up to {context}; "
            "set generator.max_model_len"
        )


def node_of(hello: wire.Hello) -> str:
    """The name of a replica's host, for people."""
    return hello.origin.host or "an unknown host"


def serves(hello: wire.Hello) -> PoolModel:
    """What its pool is, as far as it can say."""
    engine = hello.engine
    kind = engine.engine.partition("-")[0]  # one model on a GPU and on a CPU
    return PoolModel(
        hello.origin.model_digest, kind, engine.max_model_len, engine.model, hello.replica_id, node_of(hello)
    )


def _check_version(hello: wire.Hello) -> None:
    version = hello.origin.version
    if not work_together(version, __version__):
        raise InvalidInput(
            f"replica {hello.replica_id} on {node_of(hello)} has treeroll {version or 'of an older version'}, the "
            f"service has {__version__}: install {__version__} there"
        )

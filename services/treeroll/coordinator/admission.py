"""Which replicas may join: their version, their model against their pool's, and figures that can be."""

import re

from treeroll import __version__
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.tokenizer import Tokenizer
from treeroll.versions import work_together

MOST_SLOTS, MOST_NAMED, MOST_ORIGIN_BYTES = 65_536, 100_000, 4096
"""Branches that a replica may say to decode at once; grants and trees that it may name, and what it may say of itself,
when it joins."""
# It stands in logs and in tables.
REPLICA_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_hello(hello: wire.Hello, tokenizer: Tokenizer, of_pool: wire.Hello | None) -> None:
    """InvalidInput for another version, a model that is not its pool's, or that cannot go on with what others wrote.

    `of_pool`: what another replica of its pool said.
    """
    name, engine, context = hello.replica_id, hello.engine, tokenizer.max_model_len
    if not REPLICA_ID.fullmatch(name):
        raise InvalidInput(f"replica id {name[:200]!r} must be 1 to 64 of letters, digits, '.', '_' and '-'")
    if hello.origin.ByteSize() > MOST_ORIGIN_BYTES:
        raise InvalidInput(f"replica {name} says more than {MOST_ORIGIN_BYTES} bytes of what it is made of")
    _check_version(hello)
    if of_pool is not None:
        _check_model(hello, of_pool)
    if hello.tokenizer_hash != tokenizer.hash:
        raise InvalidInput(
            f"replica {name} serves {engine.model} with tokenizer {hello.tokenizer_hash or 'unknown'}, but the "
            f"service has {tokenizer.hash}: its ids would mean something else"
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


def _check_version(hello: wire.Hello) -> None:
    version = hello.origin.version
    if not work_together(version, __version__):
        raise InvalidInput(
            f"replica {hello.replica_id} on {node_of(hello)} has treeroll {version or 'of an older version'}, the "
            f"service has {__version__}: install {__version__} there"
        )


def _check_model(hello: wire.Hello, of_pool: wire.Hello) -> None:
    mine, theirs = hello.origin.model_digest, of_pool.origin.model_digest
    if mine == theirs:
        return
    pool = f"its pool '{hello.pool}'" if hello.pool else "the fleet"
    raise InvalidInput(
        f"replica {hello.replica_id} on {node_of(hello)} serves {hello.engine.model} with digest {mine or 'unknown'}, "
        f"but {pool} has {of_pool.engine.model} with digest {theirs or 'unknown'}, as replica {of_pool.replica_id} on "
        f"{node_of(of_pool)}: copy the same model to both, or start the service anew for another one"
    )

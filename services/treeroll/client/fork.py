"""gRPC does not survive fork. A child that uses it anyway hangs or crashes, so it is told instead."""

import gc
import os

import grpc
import grpc.aio

from treeroll.errors import CallerError
from treeroll.forks import generation

_used_in: int | None = None  # the first generation that opened a channel


def check_opening() -> None:
    """CallerError where no channel can be opened. Opening one is using gRPC, from then on."""
    global _used_in
    if _used_in is None and not (generation() and _inherited()):
        _used_in = generation()
    check_use(_used_in)


def check_use(made_in: int | None) -> None:
    """CallerError unless this generation made what is about to be used."""
    if made_in != generation():
        raise CallerError(
            "this process was forked from one that used gRPC, which does not survive fork: start it with the method "
            "'spawn' or 'forkserver' of multiprocessing (DataLoader: multiprocessing_context='spawn'), or let the "
            "parent connect only after the fork, and each child for itself"
        )


def _inherited() -> bool:
    """Whether there is a channel or server that others made, before the fork."""
    kinds: tuple[type, ...] = (grpc.aio.Channel, grpc.aio.Server)
    # gRPC's own support for forks knows only of synchronous ones.
    if os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "0").lower() not in ("1", "y", "yes", "true"):
        kinds += (grpc.Channel, grpc.Server)
    return any(issubclass(type(thing), kinds) for thing in gc.get_objects())

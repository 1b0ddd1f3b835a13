"""A Ray cluster that is there: this process's connection to it. It starts nothing of Ray's."""

import logging
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from treeroll.generator.ray_config import RayConfig, has_token

# Read by Ray when it is imported. Signals are the program's own, and workers run what is installed on their nodes.
os.environ["RAY_DISABLE_FAILURE_SIGNAL_HANDLER"] = "1"
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
# Ray shows a token only where it is told that the cluster wants one.
os.environ["RAY_AUTH_MODE"] = os.environ.get("RAY_AUTH_MODE") or ("token" if has_token(os.environ) else "disabled")

import psutil
import ray
from ray._private import services

from treeroll.addresses import split
from treeroll.errors import InvalidInput, Unavailable

log = logging.getLogger(__name__)

REACH_S = 10.0
# Ray's own goodbye waits for a head that is gone.
GOODBYE_S = 2.0
# [2026-12-01 05:47:21,754 W 569 574] gcs_client.cc:210: ...
_RAYS_LINE = re.compile(rb"\[[-\d]+ [:\d,]+ [A-Z] \d+ \d+\] \w+\.cc:\d+: ")


class RayCluster:
    """The connection of this process to a cluster."""

    logs: Path | None = None
    """What replicas write goes to the logs of Ray on their nodes."""

    def __init__(self, config: RayConfig) -> None:
        """Nothing is reached yet."""
        self._config = config
        self._connected = False

    def start(self, timeout_s: float, cancelled: Event | None = None) -> None:
        """Connect.

        Raises:
            InvalidInput: nobody listens there, it wants another token, or this host is no node of it.
            Unavailable: Ray does not connect although all that is right.
        """
        address = _resolved(str(self._config.address))
        _check(address, str(self._config.address))
        try:
            ray.init(
                address=address,
                namespace=self._config.namespace,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except Exception as error:  # Ray raises no class of its own
            raise Unavailable(f"the Ray cluster at {address} does not take this process: {error}") from error
        self._connected = True
        log.info("joined the Ray cluster at %s: %s", address, what_it_has())

    def keep_logs(self) -> Path | None:
        """They stay where they are."""
        return None

    def stop(self) -> None:
        """Disconnect. Again is a no-op."""
        if self._connected:
            goodbye = Thread(target=ray.shutdown, daemon=True)
            goodbye.start()
            goodbye.join(GOODBYE_S)
            self._connected = False


def what_it_has() -> str:
    """The nodes of the cluster that live and what they have in all, for people."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    sums = {kind: sum(node["Resources"].get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")}
    had = ", ".join(f"{amount:g} {kind}s" for kind, amount in sums.items())
    return f"{len(nodes)} node{'s' if len(nodes) != 1 else ''} with {had}"


def nodes_elsewhere() -> list[str]:
    """Names of the living nodes that are not on this host."""
    own = _own_addresses()
    return [
        node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"] and node["NodeManagerAddress"] not in own
    ]


def _resolved(address: str) -> str:
    try:
        return str(services.canonicalize_bootstrap_address(address))
    except (ConnectionError, ValueError, OSError) as error:
        raise InvalidInput(f"ray.address is '{address}', which leads to no Ray cluster: {error}") from None


def _check(address: str, given: str) -> None:
    """Find out in a second what `ray.init` would need minutes for, and say what to do about it."""
    try:
        socket.create_connection(split(address), timeout=REACH_S).close()
    except OSError as error:
        raise InvalidInput(
            f"ray.address is {given}, where nobody listens ({error.strerror or error}): it is the address of the "
            "cluster's head, port 6379 unless it was started with another"
        ) from None
    try:
        with _without_rays_lines():
            client = ray._raylet.GcsClient(address=address)  # noqa: SLF001 - there is no public way
            found = client.get_all_node_info()
    except ray.exceptions.AuthenticationError:
        raise InvalidInput(
            f"the Ray cluster at {address} wants its token, and {_shown()}: set RAY_AUTH_MODE=token with "
            "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH"
        ) from None
    except ray.exceptions.RpcError as error:
        raise InvalidInput(f"ray.address is {address}, where Ray {ray.__version__} gets no answer: {error}") from None
    if not {node.node_manager_address for node in found.values() if node.state == node.ALIVE} & _own_addresses():
        raise InvalidInput(
            f"no node of the Ray cluster at {address} runs on this host, and Ray lets nobody in from elsewhere: start "
            f"one with `ray start --address={address} --num-cpus=0`, or run this as a Ray job"
        )


@contextmanager
def _without_rays_lines() -> Iterator[None]:
    """Keep what Ray's library writes to standard error out of it: its caller gets an error, which says all of it."""
    sys.stderr.flush()
    standard = os.dup(2)
    try:
        with tempfile.TemporaryFile() as kept:
            os.dup2(kept.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(standard, 2)
                kept.seek(0)
                for line in kept:  # others may have written meanwhile
                    if not _RAYS_LINE.match(line):
                        os.write(2, line)
    finally:
        os.close(standard)


def _shown() -> str:
    """What a cluster that wants its token saw of this process, for people."""
    if not has_token(os.environ):
        return "there is none in this environment"
    if os.environ["RAY_AUTH_MODE"] != "token":
        return f"RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']} keeps the one in this environment from being shown"
    return "the token in this environment is another"


def _own_addresses() -> set[str]:
    return {address.address for found in psutil.net_if_addrs().values() for address in found}

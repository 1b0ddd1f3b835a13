"""Ray for one machine: started quietly with what a service needs and nothing else, or joined where it runs already."""

import logging
import os
import secrets
import shutil
import tempfile

# Ray replaces loopback addresses by the machine's own, and so listens to the network, except on desktop systems. This
# is its switch for that; it is read at import.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import psutil
import ray

from treeroll.errors import Unavailable

NAMESPACE = "treeroll"
OBJECT_STORE_BYTES = 128 << 20  # messages only: no tensors travel through it
KILL_TIMEOUT_S = 10.0
# Ray gives a new node 30 s, part of which its agents spend on importing modules; from a cold disk that can be too
# little, and the second time they are in the page cache.
START_ATTEMPTS = 2
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

_temporary: list[str] = []


def start_local_ray(num_cpus: int, address: str | None = None) -> None:
    """Initialise Ray in this process; stop_local_ray undoes it.

    Without an address: a private cluster that only holders of a random token can talk to, gone when it is stopped or
    this process ends; `num_cpus` is how many it may hand out, whatever the machine has. With an address: a connection
    to that cluster, under the RAY_* settings of the environment.

    Raises:
        Unavailable: the private cluster did not come up; nothing of it is left.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    common = {"namespace": NAMESPACE, "logging_level": logging.ERROR, "log_to_driver": False}
    if address is not None:
        ray.init(address=address, **common)
        return
    if "RAY_AUTH_MODE" not in os.environ:
        _require_token()
    # Short, because the paths of Unix sockets are limited to about a hundred characters.
    for _ in range(START_ATTEMPTS):
        directory = tempfile.mkdtemp(prefix="trl-", dir="/tmp")  # fresh, mode 0700
        _temporary.append(directory)
        try:
            ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=directory,
                **common,
            )
            return
        except Exception as error:  # Ray raises no class of its own
            _discard(directory)
            if "timed out during startup" not in str(error):
                raise
    raise Unavailable(f"Ray did not start in {START_ATTEMPTS} attempts of 30 s each: is this machine overloaded?")


def _discard(directory: str) -> None:
    """End what a failed start left running, and its files: Ray forgets both."""
    processes = psutil.Process().children(recursive=True)
    left = [process for process in processes if _names(process, directory)]
    for process in left:
        process.kill()
    psutil.wait_procs(left, KILL_TIMEOUT_S)
    shutil.rmtree(directory, ignore_errors=True)


def _names(process: psutil.Process, directory: str) -> bool:
    try:
        return any(directory in argument for argument in process.cmdline())
    except psutil.Error:  # gone, or a zombie
        return False


def _require_token() -> None:
    """Make this process, and the cluster it starts, use a random token: other users of the machine are kept out."""
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Ray has read the environment when it was imported; this makes it look again, as its own `ray start` does.
    ray._raylet.Config.initialize("")


def stop_local_ray() -> None:
    """Disconnect; a private cluster ends with all its processes and files. Idempotent."""
    node = ray._private.worker._global_node
    started = [info.process for infos in (node.all_processes.values() if node else ()) for info in infos]
    ray.shutdown()
    for process in started:  # Ray kills them but does not wait
        process.wait(KILL_TIMEOUT_S)
    while _temporary:
        shutil.rmtree(_temporary.pop(), ignore_errors=True)

"""Ray for one machine: started quietly with what a service needs and nothing else, or joined where it runs already."""

import logging
import os
import secrets
import shutil
import tempfile

# Ray replaces loopback addresses by the machine's own, and so listens to the network, except on desktop systems. This
# is its switch for that; it is read at import.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray

NAMESPACE = "treeroll"
OBJECT_STORE_BYTES = 128 << 20  # messages only: no tensors travel through it
KILL_TIMEOUT_S = 10.0
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
    directory = tempfile.mkdtemp(prefix="trl-", dir="/tmp")  # fresh, mode 0700
    _temporary.append(directory)
    ray.init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=directory,
        **common,
    )


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

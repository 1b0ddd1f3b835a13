"""The head of a private Ray as a process of its own: `python -m treeroll.generator.ray_head DIRECTORY CPUS BYTES`.

`ray.init` would start Ray's processes below the service: a wait that nobody can end, half a minute for a raylet that is
dead, and fifteen seconds for agents that import slowly on a busy machine. Here all of them are below one process that
can be killed as a whole. It writes Ray's address to DIRECTORY/address when Ray is up, and ends with Ray: its last line
of output then says why.
"""

import contextlib
import os
import random
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from ray._private import node, parameter, services

HOST = "127.0.0.1"
ADDRESS_FILE = "address"
# Ray gives its workers ports from 10002 to 19999.
AFTER_RAYS_WORKERS = 20_000
POLL_S = 0.05
# Lines in which Ray's processes say why they end.
REASONS = ("Timed out", "Check failed", "Failed to", "failed to", "Address already in use", "No space left")
LOG_TAIL_BYTES = 64 << 10
LONGEST_REASON = 300
# Ray ends all that is below it. What it waits for goes by itself when nobody is left.
VITAL = ("gcs_server", "raylet")


def main(directory: Path, num_cpus: int, object_store_bytes: int) -> None:
    """Start Ray, say where it is, and watch it until SIGTERM."""
    agent, export, listen, runtime = _free_ports(4)
    watch = _Watch(directory)
    start_ray_process = services.start_ray_process

    def start_and_watch(command: list[str], process_type: str, **how: Any) -> Any:
        if process_type == "raylet":
            # Ray gives this port to the agent alone, and its raylet then waits for a file with it. Without workers
            # that wait for work the driver need not wait for them: it holds Python's lock meanwhile, deaf to signals.
            command = [*command, f"--dashboard_agent_listen_port={listen}", "--num_prestart_python_workers=0"]
        started = start_ray_process(command, process_type, **how)
        watch.add(process_type, started.process)
        return started

    services.start_ray_process = start_and_watch
    head = _Head(
        parameter.RayParams(
            node_ip_address=HOST,
            num_cpus=num_cpus,
            include_dashboard=False,
            include_log_monitor=False,  # for drivers that print what workers do
            no_monitor=True,  # of the autoscaler
            object_store_memory=object_store_bytes,
            temp_dir=str(directory),
            # Chosen here: a raylet waits fifteen seconds for each port that an agent chooses, and then aborts.
            metrics_agent_port=agent,
            metrics_export_port=export,
            dashboard_agent_listen_port=listen,
            runtime_env_agent_port=runtime,
        ),
        head=True,
        shutdown_at_exit=False,
        ray_init_cluster=True,
    )
    part = directory / f"{ADDRESS_FILE}.part"
    part.write_text(head.gcs_address)
    part.rename(directory / ADDRESS_FILE)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    watch.stop()
    head.kill_all_processes(check_alive=False, allow_graceful=True)


class _Head(node.Node):  # type: ignore[misc]
    def start_api_server(self, **_: Any) -> None:
        """Not started: it serves Ray's dashboard, and jobs."""


class _Watch:
    """Ends this process, and with it Ray, as soon as a part that Ray cannot do without has ended."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[tuple[str, Any]] = []
        self._stopping = False
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, kind: str, process: Any) -> None:
        if kind in VITAL:
            self._processes.append((kind, process))

    def stop(self) -> None:
        self._stopping = True

    def _run(self) -> None:
        while not self._stopping:
            for kind, process in self._processes:
                code = process.poll()
                if code is not None and not self._stopping:
                    self._end(kind, code)
            time.sleep(POLL_S)

    def _end(self, kind: str, code: int) -> NoReturn:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        reason = _reason(self._directory / "session_latest" / "logs", kind)
        print(f"its {kind} {how}{reason and ': '}{reason}", file=sys.stderr, flush=True)
        os._exit(1)  # the kernel kills the others


def _reason(logs: Path, kind: str) -> str:
    """What the process itself said; empty if nothing."""
    lines: list[str] = []
    for name in (f"{kind}.err", f"{kind}.out"):
        try:
            lines += (logs / name).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").splitlines()
        except OSError:
            continue
    told = [line for line in lines if any(word in line for word in REASONS)]
    return told[0].strip()[-LONGEST_REASON:] if told else ""


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses, and that the system gives to no connection.

    Agents take theirs seconds later. Of the ports that the system gives away, one of our many connections may have got
    it by then; the agent would end, and with it the raylet.
    """
    found: list[int] = []
    for port in random.sample(range(AFTER_RAYS_WORKERS, _first_given_away()), 1000):
        if len(found) == count:
            break
        with contextlib.suppress(OSError):
            socket.create_server((HOST, port)).close()
            found.append(port)
    return found


def _first_given_away() -> int:
    """The first port that the system gives to connections; Linux's usual one where it does not say."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32_768
    return first if first > AFTER_RAYS_WORKERS + 2000 else 32_768


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    except Exception as error:  # Ray raises no class of its own
        traceback.print_exc()
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(1)

"""Hosts of one network, as namespaces of this machine: each has address, processes, name, /tmp and /dev/shm of its own.

A host is there as long as its first process, and that as long as the test: whatever way either ends, the kernel ends
what runs on the host, and takes its mounts and its cable away.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.support.command import Command
from tests.support.eventually import eventually_sync

from treeroll.guarded_process import spawn

ROOT = Path(__file__).parents[2]
# Nobody else is on this network: its switch is in a namespace of its own, too.
NETWORK = "10.77.7"
TMP = "/tmp"  # noqa: S108
UP = "up"

# The first process of a host. What is below /tmp and must be seen there is carried over into the host's own.
_INIT = r"""
set -e
hostname "$1"; mount --bind "$2" /etc/hosts; own=$3; shift 3
mount -t tmpfs tmpfs "$own"
chmod 1777 "$own"
for path; do mkdir -p "$own/${path#/tmp/}"; mount --bind "$path" "$own/${path#/tmp/}"; done
mount --move "$own" /tmp
mount -t tmpfs tmpfs /dev/shm
mount -t proc proc /proc
trap '' CHLD  # processes that were left behind are no zombies when they end
echo up
exec sleep infinity
"""


def why_no_hosts() -> str:
    """Why this machine lets nobody make hosts; "" if it does."""
    for tool in ("ip", "nsenter", "unshare"):
        if shutil.which(tool) is None:
            return f"the program {tool} is missing"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    try:
        with tempfile.TemporaryDirectory() as place, hosts("probe", shared=Path(place)):
            return ""
    except (AssertionError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return f"namespaces are refused here: {' '.join(said.split())}"


class Host:
    """One host."""

    def __init__(self, name: str, address: str, first: "_First", switch: "_First", cable: str) -> None:
        """`first` and `switch`: first processes of the host and of the switch, where its `cable` ends."""
        self.name, self.address = name, address
        self._first = first
        self._switch = switch
        self._cable = cable

    def within(self, cwd: Path) -> list[str]:
        """What runs the program behind it on this host, in a directory."""
        enter = ["nsenter", "-t", str(self._first.pid), "-m", "-p", "-u", "-n", "--"]
        return [*enter, "sh", "-c", 'cd "$0"; exec "$@"', str(cwd)]

    def command(self, args: Sequence[str], log: Path, cwd: Path, module: str, env: Mapping[str, str]) -> Command:
        """A Python program on this host; as a context it is ended there."""
        return Command(args, log, module=module, within=self.within(cwd), env=env)

    def run(
        self, *command: str, cwd: Path, env: Mapping[str, str], timeout_s: float = 120.0
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program on this host to its end."""
        return subprocess.run(
            [*self.within(cwd), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **env},
        )

    def unplug(self) -> None:
        """Pull its cable: what it sends goes nowhere, and nobody tells it."""
        self._switch.ip(f"link set {self._cable} down")

    def plug_in(self) -> None:
        """Put its cable back."""
        self._switch.ip(f"link set {self._cable} up")

    def switch_off(self) -> None:
        """End all of its processes at once, as a power failure does; nobody is told."""
        self._first.end()


@contextmanager
def hosts(*names: str, shared: Path) -> Iterator[list[Host]]:
    """Hosts of one network that know each other by name. All see the directory `shared`, and the same programs."""
    addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, 10)}
    table = shared / "hosts"
    table.write_text("127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for name, ip in addresses.items()))
    with ExitStack() as stack:
        switch = stack.enter_context(_first(["--net"], f"echo {UP}; exec sleep infinity", [], shared / "switch.log"))
        switch.ip("link add switch type bridge", "link set switch up")
        made = []
        for number, (name, address) in enumerate(addresses.items()):
            first = stack.enter_context(_first_of_host(name, table, shared))
            cable = f"p{number}"
            switch.ip(
                f"link add {cable} type veth peer name eth0 netns {first.pid}",
                f"link set {cable} master switch up",
            )
            first.ip("link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up")
            made.append(Host(name, address, first, switch, cable))
        yield made


class _First:
    """The first process of namespaces, by this machine's number. The kernel ends all others of them with it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def ip(self, *commands: str) -> None:
        """Run commands of `ip` in its network."""
        enter = ["nsenter", "-t", str(self.pid), "-n", "--", "ip", "-batch", "-"]
        subprocess.run(enter, input="\n".join(commands), capture_output=True, text=True, check=True)

    def end(self) -> None:
        """Kill it, and wait until nobody is left. Again is a no-op."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        select.select([self._descriptor], [], [])

    def close(self) -> None:
        """Forget it."""
        os.close(self._descriptor)


@contextmanager
def _first_of_host(name: str, table: Path, shared: Path) -> Iterator[_First]:
    seen = {path.resolve() for path in (shared, ROOT, Path(sys.prefix), Path(sys.base_prefix))}
    below_tmp = sorted(str(path) for path in seen if path.is_relative_to(TMP))
    with tempfile.TemporaryDirectory(dir=TMP) as own:
        args = [name, str(table), own, *below_tmp]
        with _first(["--net", "--mount", "--uts"], _INIT, args, shared / f"{name}.log") as first:
            yield first


@contextmanager
def _first(namespaces: list[str], script: str, args: list[str], log: Path) -> Iterator[_First]:
    """Make namespaces. They end with the context, or with this process."""
    unshare = [str(shutil.which("unshare")), *namespaces, "--pid", "--fork", "--kill-child"]
    holder = spawn([*unshare, "sh", "-c", script, "host", *args], log, (), at_our_end=signal.SIGKILL)
    try:
        eventually_sync(lambda: UP in log.read_text() or holder.poll() is not None)
        assert holder.poll() is None, log.read_text()
        [pid] = map(int, Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split())
        first = _First(pid)
        try:
            yield first
        finally:
            first.end()
            first.close()
    finally:
        holder.kill()
        holder.wait()

"""Hosts as namespaces of this machine: each has network, process ids, name, /tmp and /dev/shm of its own."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.command import Command

ROOT = Path(__file__).parents[2]
NETWORK = "10.77.7"
_numbers = itertools.count()

# Run as the first process of a host: what is below /tmp and must be seen there goes on being seen.
_INIT = r"""
set -e
hostname "$1"; shift
mount --make-rprivate /
mount --bind "$1" /etc/hosts; shift
mount -t tmpfs tmpfs /mnt
n=0
for path; do n=$((n + 1)); mkdir "/mnt/$n"; mount --bind "$path" "/mnt/$n"; done
mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp
mount -t tmpfs tmpfs /dev/shm
n=0
for path; do n=$((n + 1)); mkdir -p "$path"; mount --bind "/mnt/$n" "$path"; done
mount -t proc proc /proc
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
        with hosts("probe", shared=Path("/")):
            return ""
    except subprocess.CalledProcessError as error:
        return f"namespaces are refused here: {' '.join(str(error.stderr or error).split())}"


class Host:
    """One host."""

    def __init__(self, name: str, address: str, namespace: str, holder: subprocess.Popen[str]) -> None:
        self.name, self.address = name, address
        self._namespace = namespace
        self._holder = holder

    def command(
        self, args: Sequence[str], log: Path, module: str = "treeroll.cli.main", env: Mapping[str, str] | None = None
    ) -> Command:
        """`treeroll ARGS` on this host; as a context it is ended there."""
        return Command(args, log, module=module, within=self._prefix, env=env)

    def run(self, *command: str, timeout_s: float = 120.0) -> "subprocess.CompletedProcess[str]":
        """Run a program on this host to its end."""
        return subprocess.run(
            [*self._prefix, *command], capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT
        )

    def unplug(self) -> None:
        """Cut its cable."""
        _ip("-n", f"{self._namespace}", "link", "set", "eth0", "down")

    def plug_in(self) -> None:
        """Join its cable again."""
        _ip("-n", f"{self._namespace}", "link", "set", "eth0", "up")

    def switch_off(self) -> None:
        """Kill all of its processes at once."""
        self._holder.kill()
        self._holder.wait()

    @property
    def _prefix(self) -> list[str]:
        return ["nsenter", "-t", str(_first_process(self._holder.pid)), "-m", "-p", "-u", "-n", "--"]


@contextmanager
def hosts(*names: str, shared: Path) -> Iterator[list[Host]]:
    """Hosts of one network that know each other by name. All see the directory `shared`, and the same programs."""
    run = f"tr{os.getpid()}-{next(_numbers)}"
    switch = f"{run}-switch"
    made: list[Host] = []
    table = shared / f"hosts-{run}" if shared != Path("/") else Path(f"/tmp/hosts-{run}")  # noqa: S108
    addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, 10)}
    table.write_text("127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for name, ip in addresses.items()))
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        for number, (name, address) in enumerate(addresses.items()):
            namespace = f"{run}-{name}"
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", f"p{number}", "netns", switch)
            _ip("-n", switch, "link", "set", f"p{number}", "master", "switch", "up")
            _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "eth0", "up")
            made.append(Host(name, address, namespace, _holder(namespace, name, table, shared)))
        yield made
    finally:
        for host in made:
            host.switch_off()
        for name in (switch, *(f"{run}-{name}" for name in names)):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        table.unlink(missing_ok=True)


def _holder(namespace: str, name: str, table: Path, shared: Path) -> "subprocess.Popen[str]":
    seen = {path.resolve() for path in (shared, ROOT, Path(sys.prefix), Path(sys.base_prefix))}
    below_tmp = sorted(str(path) for path in seen if path.is_relative_to("/tmp"))  # noqa: S108
    own = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "sh", "-c", _INIT, "host"]
    process = subprocess.Popen(
        ["ip", "netns", "exec", namespace, *own, name, str(table), *below_tmp],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdout.readline() != "up\n":
        raise subprocess.CalledProcessError(process.wait(), "unshare", stderr=process.stderr.read())
    return process


def _first_process(holder: int) -> int:
    """The process of a host that its `unshare` started, as this machine numbers it."""
    return int(Path(f"/proc/{holder}/task/{holder}/children").read_text().split()[0])


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], capture_output=True, text=True, check=True)

"""A service on hosts of its own, set up by the commands that deploy/README.md gives for them."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from tests.support.command import Command
from tests.support.hosts import ROOT, Host, hosts

from treeroll.demo import TASKS_FILE

PAGE = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
SECTION = re.split(r"^## ", PAGE.partition("## Hosts of your own\n")[2], flags=re.M)[0]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", SECTION, re.M | re.S)
MAKE, SERVE, REPLICA, ROLLOUT, RAY_TOKEN, HEAD, NODE, FLEET, SUBMIT_JOB, STOP_JOB = BLOCKS
[SETTINGS] = re.findall(r"^```yaml\n(.*?)^```", SECTION, re.M | re.S)
NAMES = ("store", "first", "second", "head", "gpu1", "gpu2", "desk")
MODULES = {"treeroll": "treeroll.cli.main", "ray": "tests.support.ray_start", "trainer": "tests.cluster.trainer"}
PASSWORD = "of-a-test"
START_S = 600.0

Sections = Mapping[str, Mapping[str, Any]]


class Deployed:
    """The hosts, and what runs on them."""

    def __init__(self, place: Path, made: Sequence[Host], stack: ExitStack) -> None:
        self.place = place
        self.hosts = {host.name: host for host in made}
        self._stack = stack
        self._started = 0
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._env = {"PATH": path, "PYTHONPATH": f"{ROOT / 'services'}:{ROOT}"}

    def make(self, settings: Sections) -> None:
        """Certificates, tokens and settings as the page has them, but for a simulated engine and these `settings`."""
        (self.place / "redis.password").write_text(PASSWORD)
        make = ["bash", "-euo", "pipefail", "-c", MAKE + RAY_TOKEN]
        subprocess.run(make, cwd=self.place, env={**os.environ, **self._env}, check=True, capture_output=True)
        chosen = yaml.safe_load(SETTINGS)
        chosen["generator"] = {"engine": "simulated"}
        for section, values in settings.items():
            chosen.setdefault(section, {}).update(values)
        (self.place / "service.yaml").write_text(yaml.safe_dump(chosen))
        (self.place / "tasks.jsonl").write_bytes(TASKS_FILE.read_bytes())
        (self.place / "deploy").symlink_to(ROOT / "deploy")

    def redis(self) -> Command:
        """Start the store."""
        args = (self.hosts["store"].address, "6379", PASSWORD, "certs", "redis")
        server = self._start("store", "tests.support.tls_redis", args, {})
        server.until(lambda: "listens at" in server.output(), START_S)
        return server

    def follow(self, commands: str, host: str, *options: str, **env: str) -> Command:
        """Start the command that a block of the page ends with, and more options, with what the block exports, and
        more of that."""
        *exports, command = commands.strip().splitlines()
        program, *args = shlex.split(command)
        return self._start(host, MODULES[program], [*args, *options], self._exported(exports) | env)

    def run(self, commands: str, host: str, **env: str) -> str:
        """What the commands of a block say, which end well."""
        return self._ended(self.hosts[host].run("bash", "-euc", commands, cwd=self.place, env=self._env | env))

    def _ended(self, ran: "subprocess.CompletedProcess[str]") -> str:
        assert ran.returncode == 0, f"{ran.args}\n{ran.stdout}"
        return ran.stdout

    def _exported(self, lines: Sequence[str]) -> dict[str, str]:
        names = [word.partition("=")[0] for line in lines for word in line.split()[1:]]
        script = "\n".join([*lines, *(f"printf '%s\\0' \"${name}\"" for name in names)])
        values = subprocess.run(["bash", "-euc", script], cwd=self.place, text=True, check=True, stdout=subprocess.PIPE)
        return dict(zip(names, values.stdout.split("\0"), strict=False))

    def _start(self, host: str, module: str, args: Sequence[str], env: Mapping[str, str]) -> Command:
        self._started += 1
        log = self.place / f"{self._started}-{host}.log"
        return self._stack.enter_context(self.hosts[host].command(args, log, self.place, module, {**self._env, **env}))

    def asked(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """`treeroll` for an operator at the desk, run to its end."""
        env = self._env | {"TREEROLL_TOKEN_FILE": "ops.token", "TREEROLL_CA": "certs/ca.pem"}
        address = ("--address", "first:7070,second:7070")
        return self.hosts["desk"].run("treeroll", *command, *address, cwd=self.place, env=env)

    def ask(self, *command: str) -> str:
        """What it says, where it ends well."""
        return self._ended(self.asked(*command))

    def rows(self, kind: str, out: str) -> list[dict[str, Any]]:
        """What a rollout wrote."""
        return pq.read_table(self.place / out / f"{kind}.parquet").to_pylist()  # type: ignore[no-any-return]

    def has_trees(self, out: str) -> bool:
        """Whether a rollout has written any."""
        return any((self.place / out / "parts").glob("trees-*.parquet"))


def moments(command: Command, pattern: str) -> list[tuple[float, str]]:
    """When a process logged lines that hold the pattern, seconds since the epoch, and its first group."""
    found = re.findall(rf"^([-\d]+ [:\d]+,\d+) .*?{pattern}", command.output(), re.M)
    return [(datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").timestamp(), group) for at, group in found]


@contextmanager
def deployed(place: Path, settings: Sections) -> Iterator[Deployed]:
    """The hosts, with certificates, tokens, settings and a Redis, and no other process."""
    with hosts(*NAMES, shared=place) as made, ExitStack() as stack:
        service = Deployed(place, made, stack)
        service.make(settings)
        service.redis()
        yield service

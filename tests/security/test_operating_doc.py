"""What docs/operating.md says of serving beyond loopback is true: its commands run, against the service they start."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.command import Command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
SECTION = re.split(r"^## ", PAGE.partition("## Serve beyond loopback in five minutes\n")[2], flags=re.M)[0]
(MAKE, ASK), SETTINGS = (re.findall(rf"^```{kind}\n(.*?)^```", SECTION, re.M | re.S) for kind in ("sh", "yaml"))


def follow(commands: str, place: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "services"), "COLUMNS": "160"} | variables
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=place, env=environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """Where the page was followed, the service's port, and what `treeroll status` said."""
    place = tmp_path_factory.mktemp("beyond")
    *first, serve = MAKE.strip().splitlines()
    made = follow("\n".join(first), place)
    assert made.returncode == 0, made.stdout
    (place / "service.yaml").write_text("generator: {engine: simulated}\ncoordinator: {port: 0}\n" + "".join(SETTINGS))
    words = serve.split()
    assert words[0] == "treeroll"
    with Command(words[1:], place / "log", cwd=place) as command:
        command.until(lambda: "treeroll serves at 0.0.0.0:" in command.output())
        (port,) = re.findall(r"treeroll serves at 0\.0\.0\.0:(\d+)", command.output())
        said = follow(ASK.replace("rollouts.example.org:7070", f"localhost:{port}"), place)
        assert said.returncode == 0, said.stdout
        yield place, port, said.stdout
        command.process.terminate()
        assert command.wait() == 0


def test_an_operator_sees_the_service(served: tuple[Path, str, str]) -> None:
    assert re.search(r"promises +all kept", served[2])
    assert re.search(r"r0\.\d+ +ready", served[2])


def test_a_client_grows_trees_and_drains_nothing(served: tuple[Path, str, str]) -> None:
    place, port, _ = served
    (place / "tasks.jsonl").write_text('{"prompt": "2+2="}\n')
    alice = {"TREEROLL_CA": "certs/ca.pem", "TREEROLL_TOKEN": (place / "alice.token").read_text().strip()}
    rollout = f"treeroll rollout tasks.jsonl --address localhost:{port} --recipe flat --leaves 2 --out out"
    grown = follow(rollout, place, **alice)
    assert grown.returncode == 0, grown.stdout
    assert (place / "out" / "samples.parquet").exists()
    drained = follow(f"treeroll drain --address localhost:{port}", place, **alice)
    assert (drained.returncode, drained.stdout.count("\n")) == (2, 1)
    assert drained.stdout.startswith("error: Drain is not for a token with role client")


def test_nobody_gets_in_without_a_token(served: tuple[Path, str, str]) -> None:
    place, port, _ = served
    refused = follow(f"treeroll status --address localhost:{port}", place, TREEROLL_CA="certs/ca.pem")
    assert (refused.returncode, refused.stdout.count("\n")) == (2, 1)
    assert "set TREEROLL_TOKEN" in refused.stdout

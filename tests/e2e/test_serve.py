"""`treeroll serve` as operators run it: signals in every phase, ports, what is left. Only the engines are simulated."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.command import Command
from tests.support.eventually import eventually_sync
from tests.support.processes import alive, descendants

from treeroll.scratch import Scratch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What Kubernetes allows before it kills.
GRACE_S = 30.0


@pytest.fixture
def place() -> Iterator[Path]:
    """For the service's temporary files; with a short path, so that sockets lie there too."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield Path(folder)


def serve(place: Path, log: Path, port: int = 0) -> Command:
    settings = ("--engine", "simulated", "--port", str(port), "--set", f"coordinator.temp_dir={place}")
    return Command(["serve", *settings], log)


def below(command: Command, word: str) -> list[int]:
    """Processes below the service whose command line has the word."""
    return [pid for pid, line in descendants(command.process.pid).items() if word in line]


@pytest.mark.parametrize(
    ("phase", "number"),
    [("redis-server", signal.SIGHUP), ("gcs_server", signal.SIGTERM), ("GeneratorR", signal.SIGINT)],
)
def test_a_signal_ends_the_start_in_every_phase_and_nothing_is_left(
    tmp_path: Path, place: Path, phase: str, number: signal.Signals
) -> None:
    with serve(place, tmp_path / "log") as command:
        command.until(lambda: below(command, phase))
        family = set(descendants(command.process.pid))
        command.process.send_signal(number)
        assert command.wait() == 0, command.output()
        command.assert_gone()
        eventually_sync(lambda: alive(family) == {})  # Redis writes out its data
        assert "Traceback" not in command.output()
        assert f"stopping, after {'Ctrl-C' if number == signal.SIGINT else number.name};" in command.output()
    assert os.listdir(place) == []


@pytest.mark.timing
def test_sigterm_ends_with_exit_code_0_however_long_the_stop_takes(tmp_path: Path, place: Path) -> None:
    with serve(place, tmp_path / "log") as command:
        command.until(lambda: "treeroll serves at" in command.output())
        port = int(command.output().rpartition("treeroll serves at ")[2].split()[0].rpartition(":")[2])
        refuses_a_taken_port(place, tmp_path / "second.log", port)
        family = set(descendants(command.process.pid))
        [redis] = below(command, "redis-server")
        os.kill(redis, signal.SIGSTOP)  # the service waits for it to write out its data
        command.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            command.wait(10)  # less than the service waits for Redis
        os.kill(redis, signal.SIGCONT)
        assert command.wait(GRACE_S) == 0, command.output()
        assert command.output().splitlines()[-1] == "stopping, after SIGTERM; once more stops at once"
        eventually_sync(lambda: alive(family) == {})
    assert os.listdir(place) == []


def refuses_a_taken_port(place: Path, log: Path, port: int) -> None:
    """A second service on the port of the first says so before it has started anything."""
    with serve(place, log, port) as second:
        assert second.wait() == 1
        said = second.output().splitlines()
        assert said[-1] == f"error: port {port} on 127.0.0.1 is taken; choose another with --port, or 0 for any"
        assert not [line for line in said if "treeroll." in line]  # it has not come to Ray


def test_what_kill_9_leaves_the_next_start_removes(tmp_path: Path, place: Path) -> None:
    with serve(place, tmp_path / "log") as command:
        command.until(lambda: below(command, "gcs_server"))
        family = set(descendants(command.process.pid))
        command.process.kill()
        command.wait()
        command.assert_gone()
        eventually_sync(lambda: alive(family) == {})  # Redis writes out its data
    assert len(os.listdir(place)) == 2  # of Redis and of Ray
    with Scratch(place) as next_one:
        assert os.listdir(place) == [next_one.path.name]

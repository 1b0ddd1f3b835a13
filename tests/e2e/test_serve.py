"""`treeroll serve` as operators run it: signals in every phase, ports, what is left. Only the engines are simulated."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.support.command import Command
from tests.support.processes import alive, descendants

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

START_S = 180.0
# What Kubernetes allows before it kills.
GRACE_S = 30.0


def serve(tmp_path: Path, *args: str, port: int = 0) -> Command:
    place = tmp_path / "temporary"
    place.mkdir(exist_ok=True)
    settings = ("--engine", "simulated", "--port", str(port), "--set", f"coordinator.temp_dir={place}")
    return Command(["serve", *settings, *args], tmp_path / f"{port}.log")


def below(command: Command, word: str) -> list[int]:
    """Processes below the service whose command line has the word."""
    return [pid for pid, line in descendants(command.process.pid).items() if word in line]


def left_in(tmp_path: Path) -> list[str]:
    """What lies in the service's place for temporary files, and its short directories in /tmp."""
    return sorted(path.name for path in (tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    ("phase", "number"),
    [("redis-server", signal.SIGHUP), ("gcs_server", signal.SIGTERM), ("GeneratorR", signal.SIGINT)],
)
def test_a_signal_ends_the_start_in_every_phase_and_nothing_is_left(
    tmp_path: Path, phase: str, number: signal.Signals
) -> None:
    with serve(tmp_path) as command:
        command.until(lambda: below(command, phase), START_S)
        family = set(descendants(command.process.pid))
        command.process.send_signal(number)
        assert command.wait(GRACE_S) == 0, command.output()
        command.assert_gone()
        assert alive(family) == {}
        assert "Traceback" not in command.output()
        assert f"stopping, after {'Ctrl-C' if number == signal.SIGINT else number.name};" in command.output()
    assert left_in(tmp_path) == []


def test_sigterm_ends_with_exit_code_0_however_long_the_stop_takes(tmp_path: Path) -> None:
    with serve(tmp_path) as command:
        command.until(lambda: "treeroll serves at" in command.output(), START_S)
        port = int(command.output().rpartition("treeroll serves at ")[2].split()[0].rpartition(":")[2])
        refuses_a_taken_port(tmp_path, port)
        family = set(descendants(command.process.pid))
        [redis] = below(command, "redis-server")
        os.kill(redis, signal.SIGSTOP)  # the service waits for it to write out its data
        command.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            command.wait(10)
        os.kill(redis, signal.SIGCONT)
        assert command.wait(GRACE_S) == 0, command.output()
        assert command.output().splitlines()[-1] == "stopping, after SIGTERM; once more stops at once"
        assert alive(family) == {}
    assert left_in(tmp_path) == []


def refuses_a_taken_port(tmp_path: Path, port: int) -> None:
    """A second service on the port of the first says so before it has started anything."""
    with serve(tmp_path, port=port) as second:
        assert second.wait(60) == 1
        said = second.output().splitlines()
        assert said[-1] == f"error: port {port} on 127.0.0.1 is taken; choose another with --port, or 0 for any"
        assert not [line for line in said if "treeroll." in line]  # it has not come to Ray

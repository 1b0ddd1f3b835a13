"""The service as a child: readiness, failures, lifeline, killing. A few lines of Python stand in for the service."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.eventually import eventually, eventually_sync

from treeroll.errors import InvalidInput, Unavailable
from treeroll.local_service import LocalService, last_error

READY = """
import json, sys
config = json.load(open(sys.argv[-1]))
print("Ray says hello")
print(json.dumps({"address": f"127.0.0.1:{config['coordinator']['port']}"}), flush=True)
"""
UNTIL_LIFELINE_ENDS = READY + "sys.stdin.read(); print('stopped by itself', file=sys.stderr)"
STUBBORN = READY + "import time; time.sleep(600)"


def service(tmp_path: Path, script: str) -> LocalService:
    return LocalService({"coordinator": {"port": 7171}}, tmp_path / "log", [sys.executable, "-c", script])


async def test_the_address_comes_when_the_service_is_ready_and_it_ends_with_its_lifeline(tmp_path: Path) -> None:
    local = service(tmp_path, UNTIL_LIFELINE_ENDS)
    assert await local.start() == "127.0.0.1:7171"
    await local.stop()
    assert "stopped by itself" in (tmp_path / "log").read_text()
    await local.stop()


async def test_the_address_of_its_dashboard_is_told_whenever_it_comes(tmp_path: Path) -> None:
    says = "print(json.dumps({'dashboard': 'http://%s/'}), flush=True);"
    script = f"import json;{says % 'first'}\n{READY}\n{says % 'second'} sys.stdin.read()"
    told: list[str] = []
    local = LocalService({"coordinator": {"port": 7171}}, tmp_path / "log", [sys.executable, "-c", script], told.append)
    assert await local.start() == "127.0.0.1:7171"

    async def both() -> bool:
        return told == ["http://first/", "http://second/"]

    await eventually(both)
    await local.stop()


@pytest.mark.parametrize(("code", "kind"), [(1, Unavailable), (2, InvalidInput), (-9, Unavailable)])
async def test_a_service_that_dies_during_its_start_is_an_error_with_its_cause(
    tmp_path: Path, code: int, kind: type[Exception]
) -> None:
    end = "import os; os.kill(os.getpid(), 9)" if code < 0 else f"sys.exit({code})"
    script = f"import sys; print('error: no such model', 'noise', sep='\\n', file=sys.stderr, flush=True); {end}"
    (tmp_path / "log").write_text("error: of an earlier time\n")
    local = service(tmp_path, script)
    with pytest.raises(kind, match=r"the service did not start: no such model \(log: .*log\)"):
        await local.start()
    await local.stop()


async def test_a_service_that_dies_later_is_noticed(tmp_path: Path) -> None:
    local = service(tmp_path, READY + "print('out of memory', file=sys.stderr)")
    await local.start()
    with pytest.raises(Unavailable, match="the service ended unexpectedly: out of memory"):
        await local.died()


async def test_a_service_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.local_service.STOP_S", 0.2)
    local = service(tmp_path, STUBBORN)
    await local.start()
    await local.stop()
    with pytest.raises(Unavailable):
        await local.died()


async def test_killing_takes_the_whole_group(tmp_path: Path) -> None:
    child = "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid, file=sys.stderr, flush=True);"
    local = service(tmp_path, READY.replace("import json, sys", f"import json, sys; {child}") + "sys.stdin.read()")
    await local.start()
    pid = int((tmp_path / "log").read_text())
    local.kill()
    with pytest.raises(Unavailable):
        await local.died()

    async def gone() -> bool:
        return _state(pid) in ("", "Z")

    await eventually(gone)


def _state(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


async def test_a_start_that_is_cancelled_leaves_a_service_that_can_be_stopped(tmp_path: Path) -> None:
    local = service(tmp_path, "import sys; sys.stdin.read()")
    starting = asyncio.create_task(local.start())
    await asyncio.sleep(0.3)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await local.stop()


def test_the_last_error_of_a_log_is_its_cause(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_error(log) == "it said nothing"
    log.write_text("a\nerror: first\nTraceback\nerror: second\nmore\n\n")
    assert last_error(log) == "second"
    log.write_text("a\nRuntimeError: no GPU\n")
    assert last_error(log) == "RuntimeError: no GPU"
    assert last_error(log, start=2) == "RuntimeError: no GPU"


SERVE = """
import asyncio, sys, types
service = types.ModuleType("treeroll.service")
from treeroll.access.config import AccessConfig
from treeroll.config import Config, CoordinatorConfig, DashboardConfig, StoreConfig
from treeroll.errors import EngineError

class ServiceConfig(Config):
    coordinator: CoordinatorConfig = CoordinatorConfig()
    store: StoreConfig = StoreConfig()
    access: AccessConfig = AccessConfig()
    dashboard: DashboardConfig = DashboardConfig()

async def serve(config, on_ready, stop, on_owned):
    print("Ray prints on stdout")
    if config.coordinator.port == 1:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
    on_owned(None)  # a store in memory: nobody else can look
    on_ready(f"127.0.0.1:{config.coordinator.port}")
    await stop.wait()
    print("torn down", file=sys.stderr, flush=True)

async def fail():
    raise EngineError("the engine has no memory")

service.ServiceConfig, service.serve = ServiceConfig, serve
sys.modules["treeroll.service"] = service
from treeroll.cli.main import app
app(["serve", *sys.argv[1:]])
"""


def serve(*args: str) -> "subprocess.Popen[str]":
    """`treeroll serve` with a service that does nothing."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", SERVE, *args]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_serve_stops_when_its_lifeline_ends() -> None:
    process = serve("--port", "7000", "--lifeline")
    assert process.stdout is not None
    assert process.stdout.readline() == '{"address": "127.0.0.1:7000"}\n'  # and nothing of what Ray prints
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "torn down" in err
    assert "no dashboard is started: the store is in memory" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_stops_at_a_signal(number: int) -> None:
    process = serve("--port", "7001")
    assert process.stdout is not None
    lines: list[str] = []
    eventually_sync(lambda: lines.append(process.stdout.readline()) or "serves" in lines[-1])  # type: ignore[union-attr]
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=300)
    assert (process.returncode, "torn down" in err) == (0, True)
    assert "treeroll serves at 127.0.0.1:7001\n" in lines


def test_serve_tells_a_typed_error_in_one_sentence() -> None:
    _, err = (process := serve("--port", "1")).communicate(timeout=300)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "error: the engine has no memory"


def test_serve_refuses_a_wrong_setting() -> None:
    _, err = (process := serve("--set", "store.urll=x")).communicate(timeout=300)
    assert process.returncode == 2
    assert err == "error: service configuration: unknown key 'store.urll'\n"

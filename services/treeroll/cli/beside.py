"""The dashboard beside a service: `treeroll dashboard` as a child, which never asks the service anything.

It has a session of its own, so that Ctrl-C in the terminal does not reach it, and reads the end of its standard input
when this process ends, however that happens.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from treeroll.errors import TreerollError
from treeroll.scratch import Scratch
from treeroll.service import ServiceConfig

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "treeroll.cli.main", "dashboard", "--lifeline")
# How long one that died stays away, and how long one may take to end.
AGAIN_S, STOP_S = 2.0, 5.0
# Pages may wait, segments may not.
NICE = 5


class Beside:
    """The dashboard of one service. Whatever becomes of it is said, and harms nothing else."""

    def __init__(self, config: ServiceConfig, say: Callable[[str], None]) -> None:
        """`say` gets the address that a person opens, again after each start."""
        self._config = config
        self._say = say
        self._task: asyncio.Task[None] | None = None

    def start(self, store_url: str | None) -> None:
        """Show what is in this store, from here on."""
        if self._config.dashboard.port == "off":
            return
        if store_url is None:
            log.warning("no dashboard is started: the store is in memory, where only this process can look")
            return
        self._task = asyncio.create_task(self._keep(store_url), name="dashboard")

    async def stop(self) -> None:
        """End it. Again is a no-op."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self, store_url: str) -> None:
        """Start it again whenever it dies; not one that never came to answer, which would not do better."""
        again = "; the service goes on without it, and `treeroll dashboard` starts one"
        try:
            while await self._live(store_url):
                log.error("the dashboard died; another is started")
                await asyncio.sleep(AGAIN_S)
            log.error("the dashboard could not be started, for the reason above%s", again)
        except (OSError, TreerollError) as error:
            log.error("the dashboard could not be started: %s%s", error, again)

    async def _live(self, store_url: str) -> bool:
        """One life of it; whether it ever answered."""
        with Scratch(self._config.coordinator.temp_dir) as scratch:
            file = scratch.path / "dashboard.json"
            file.write_text(json.dumps(self._settings(store_url)))  # the URL may have a password: no argument
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                "--config",
                str(file),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            try:
                _be_nice(process.pid)
                url = await _address(process)
                if url is None:
                    return False
                scratch.close()
                self._say(url)
                await process.wait()
                return True
            finally:
                await _end(process)

    def _settings(self, store_url: str) -> dict[str, Any]:
        config = self._config.model_dump(mode="json", include={"dashboard", "access"})
        return {**config, "store": {"url": store_url}}


def _be_nice(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + NICE)


async def _address(process: asyncio.subprocess.Process) -> str | None:
    """From the line that says so; None if it ends before."""
    if process.stdout is None:
        return None
    async for line in process.stdout:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return str(json.loads(line)["address"])
    return None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()

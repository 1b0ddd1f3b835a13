"""Job: a rollout from its plan to its files."""

import asyncio
import contextlib
import os
import re
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date
from itertools import chain
from typing import Any

from treeroll.cli.console import counted
from treeroll.cli.decisions import DecisionReader, decisions_of
from treeroll.cli.interrupts import Interrupted, Interrupts, exit_code, signal_name, unless
from treeroll.cli.outcome import finish, report, software
from treeroll.cli.preflight import Plan
from treeroll.cli.progress import Display, make_display
from treeroll.cli.reach import reach_async
from treeroll.cli.session import RolloutSession, cancel_quietly
from treeroll.client import AsyncClient, ServiceStatus, connect_async
from treeroll.errors import CallerError, TreerollError, Unavailable, UnknownRun
from treeroll.local_service import LocalService
from treeroll.results.directory import Mode, write_json
from treeroll.results.earlier import Earlier
from treeroll.results.parts import PartWriter
from treeroll.results.record import RunRecord
from treeroll.results.session import Session
from treeroll.tasks import Task

# How often a long start says that it goes on.
STILL_STARTING_S = 10.0


async def execute(plan: Plan) -> int:
    """Carry out a plan; returns the exit code. Raises TreerollError for a run that failed."""
    display = make_display()
    with plan.directory.opened():
        job = Job(plan, display)
        with Interrupts(job.stop_at_once) as interrupts:
            try:
                return await job.run(interrupts)
            except Interrupted as error:
                display.say(f"{error}; taking down what was started (Ctrl-C again stops at once)")
                return exit_code(error.number)
            except OSError as error:
                raise TreerollError(f"{plan.directory.path} cannot be written: {error.strerror or error}") from error
            finally:
                display.close()
                await job.stop_service()


class Job:
    """One invocation of `treeroll rollout`."""

    def __init__(self, plan: Plan, display: Display) -> None:
        """Reads what is there to resume. InvalidInput if it does not belong to the plan."""
        self._display = display
        self._earlier = Earlier.of(plan.directory) if plan.mode is Mode.RESUME else Earlier()
        self._plan = _dated_like(self._earlier.record, plan)
        self._sessions = dict(self._earlier.sessions)
        self._failures: dict[str, str] = {}
        self._service: LocalService | None = None
        if plan.service is not None:
            # Refused before anything starts; a service elsewhere is asked first what it serves.
            generator = plan.service.generator
            self._record(generator.model_names(), generator.engine, plan.tokenizer_hash)

    async def run(self, interrupts: Interrupts) -> int:
        """Grow what is missing, merge, report."""
        record = self._earlier.record
        if next(self._missing(), None) is not None or record is None:
            record = await self._grow(interrupts)
        else:
            self._display.say(f"all {self._plan.tasks.count} tasks are there already")
        complete = not interrupts.asked.is_set()
        summary, _ = await asyncio.gather(
            asyncio.to_thread(finish, self._plan, record, self._sessions, self._failures, complete=complete),
            self.stop_service(),
        )
        self._display.close()
        return report(self._plan, summary, self._display, None if complete else interrupts.number)

    def stop_at_once(self, number: signal.Signals) -> None:
        """At the second signal: end now, with the service. What is in parts stays."""
        self._display.close()
        if self._service is not None:
            self._service.kill()
        kept = f"; finished trees are in {self._plan.directory.path}, --resume goes on"
        self._display.say(
            f"stopped at once by {signal_name(number)}{kept if self._plan.directory.holds_results() else ''}"
        )
        os._exit(exit_code(number))

    async def stop_service(self) -> None:
        """Take down what was started. Again is a no-op."""
        service, self._service = self._service, None
        if service is not None:
            await service.stop()

    def _missing(self) -> Iterator[Task]:
        """Tasks without a complete tree that have not just failed."""
        done = self._earlier.written.done
        return (task for task in self._plan.tasks.tasks() if task.id not in done and task.id not in self._failures)

    async def _grow(self, interrupts: Interrupts) -> RunRecord:
        started = time.monotonic()
        if self._plan.address is not None:
            client = await interrupts.unless_asked(reach_async(self._plan.address))
        else:
            address = await interrupts.unless_asked(self._start_service())
            client = await connect_async(address, token="", tls=False)
        async with client:
            work = self._rollout(client, time.monotonic() - started, interrupts)
            try:
                return await (unless(work, self._service.died()) if self._service else work)
            except CallerError:
                raise
            except TreerollError as error:
                if not self._plan.directory.part_indices():
                    raise
                raise TreerollError(
                    f"{error}; finished trees are in {self._plan.directory.parts}, --resume goes on"
                ) from error

    async def _start_service(self) -> str:
        service = self._plan.service
        if service is None:
            raise TreerollError("the plan names neither an address nor a service")
        self._service = LocalService(
            service.model_dump(mode="json"),
            self._plan.directory.log,
            on_dashboard=lambda url: self._display.say(f"dashboard: {url}"),
        )
        generator = service.generator
        store = "Redis, " if service.store.url is None else ""
        replicas = sum(pool.replicas for pool in generator.fleet().values())
        count = counted(replicas, f"{generator.engine} replica")
        self._display.say(f"starting {store}Ray and {count} ...")
        waiting = asyncio.create_task(self._say_still_starting())
        try:
            return await self._service.start()
        finally:
            waiting.cancel()

    async def _say_still_starting(self) -> None:
        started = time.monotonic()
        while True:
            await asyncio.sleep(STILL_STARTING_S)
            waited = time.monotonic() - started
            self._display.say(f"still starting after {waited:.0f} s; its log is {self._plan.directory.log}")

    async def _rollout(self, client: AsyncClient, setup_s: float, interrupts: Interrupts) -> RunRecord:
        """First what an earlier session left at the service, then a run for what is missing."""
        status = await client.status()
        record = self._record_of(status)
        about = replace(
            Session(record.run_id, setup_s),
            replicas=len(status.replicas),
            versions=software(status, local=self._plan.address is None),
        )
        left = await self._left_behind(client)
        if left is not None:
            earlier = self._earlier.sessions.get(left.run_id, replace(about, run_id=left.run_id))
            async with decisions_of(self._store_url(status), earlier, begun=True) as decisions:
                session = self._session(client, left, earlier, interrupts, decisions)
                await session.stream(self._earlier.written)
        missing = self._missing()
        first = next(missing, None)
        if interrupts.asked.is_set() and self._plan.mode is not Mode.RESUME:
            raise Interrupted(interrupts.number)
        if first is None or interrupts.asked.is_set():
            return record
        self._display.say(f"{counted(about.replicas, 'replica')} ready at {client.address} after {setup_s:.1f} s")
        async with decisions_of(self._store_url(status), about, begun=False) as decisions:
            run = await client.create_run(record.run_id, **self._plan.run.model_dump(mode="json", exclude_unset=True))
            # A day that the prompts say is that of the rollout's first session.
            day = (await run.status()).config.get("chat_date")
            record = replace(record, run={**record.run, "chat_date": day})
            session = self._session(client, run, about, interrupts, decisions)
            await self._submit_and_stream(run, session, chain([first], missing), record)
        return record

    def _store_url(self, status: ServiceStatus) -> str:
        """Where the service's log of decisions lies. What it says itself names no user and no password."""
        service = self._plan.service
        return status.store if service is None or service.store.url is None else service.store.url

    async def _submit_and_stream(
        self, run: Any, session: RolloutSession, tasks: Iterator[Task], record: RunRecord
    ) -> None:
        cancelling = asyncio.create_task(session.cancel_when_asked())
        try:
            try:
                await session.submit(tasks)
            except TreerollError:
                await cancel_quietly(run)
                raise
            if self._plan.mode is Mode.OVERWRITE:  # only now: from here on there is something better
                self._plan.directory.clear()
            write_json(self._plan.directory.run, record.as_json())
            await session.stream(self._earlier.written)
        finally:
            cancelling.cancel()
            await asyncio.gather(cancelling, return_exceptions=True)
            self._failures.update(session.failures)

    def _session(
        self,
        client: AsyncClient,
        run: Any,
        session: Session,
        interrupts: Interrupts,
        decisions: DecisionReader | None,
    ) -> RolloutSession:
        self._sessions[session.run_id] = session
        writer = PartWriter(self._plan.directory, self._earlier.next_part)
        return RolloutSession(client, run, session, writer, self._display, interrupts, decisions)

    async def _left_behind(self, client: AsyncClient) -> Any:
        """The run that a killed session left at this service, if there is one with trees to take."""
        record = self._earlier.record
        if record is None or record.address is None or record.address != self._plan.address:
            return None
        with contextlib.suppress(UnknownRun):
            run = await client.run(record.run_id)
            return run if (await run.status()).state == "closed" else None
        return None

    def _record_of(self, status: ServiceStatus) -> RunRecord:
        if self._plan.service is not None:
            generator = self._plan.service.generator
            return self._record(generator.model_names(), generator.engine, status.tokenizer_hash)
        if status.engine is None:
            raise Unavailable(f"the service at {self._plan.address} has no replica yet; see `treeroll status`")
        return self._record(status.model_names(), status.engine.engine, status.tokenizer_hash)

    def _record(self, model: str, engine: str, tokenizer_hash: str | None) -> RunRecord:
        """Record of this invocation; InvalidInput if it does not go with what is there."""
        plan = self._plan
        record = RunRecord(
            run=plan.run.model_dump(mode="json"),
            tasks=plan.tasks.name,
            tasks_sha256=plan.tasks.sha256,
            model=model,
            engine=engine.removesuffix("-cpu"),
            tokenizer_hash=tokenizer_hash,
            address=plan.address,
            task_fields=asdict(plan.tasks.fields),
            run_id=_run_id(plan.directory.path.absolute().name),
        )
        if self._earlier.record is not None:
            self._earlier.record.check_resumed_by(record, plan.directory.path)
        return record


def _dated_like(record: RunRecord | None, plan: Plan) -> Plan:
    """The plan with the day of what it goes on with, unless it has one."""
    day = record.run.get("chat_date") if record is not None else None
    if day is None or plan.run.chat_date is not None:
        return plan
    return replace(plan, run=plan.run.model_copy(update={"chat_date": date.fromisoformat(day)}))


def _run_id(name: str) -> str:
    """A new run's id: readable, and unlike any other."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', name)[:48] or 'rollout'}-{uuid.uuid4().hex[:8]}"

"""The Rollouts server: what clients call. Checks input, hands events to the loop, answers once they are durable."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

import grpc

from treeroll import clock, errors
from treeroll.access.identity import Role, caller, check_may_publish
from treeroll.access.ownership import check_owner, check_reader, check_run_id, may_read
from treeroll.autoscale.law import Decision
from treeroll.channels import Gate
from treeroll.config import RunConfig
from treeroll.coordinator import records
from treeroll.coordinator.allocation import success_history
from treeroll.coordinator.audit_process import audit_elsewhere
from treeroll.coordinator.budgets import check_deadline
from treeroll.coordinator.calls import typed, typed_parts
from treeroll.coordinator.delivery_calls import DeliveryCalls
from treeroll.coordinator.elastic import Elastic
from treeroll.coordinator.fitness import check_loads, unfit_tasks
from treeroll.coordinator.fleet_plane import FleetPlane
from treeroll.coordinator.ground import ground
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.prompts import ChatSettings, with_chat_date
from treeroll.coordinator.prospects import Prospects
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.retention import Retention
from treeroll.coordinator.rewards import RewardReports
from treeroll.coordinator.specs import check_inserts, run_config, run_spec, task_spec
from treeroll.coordinator.status import Status
from treeroll.coordinator.store_room import fullness
from treeroll.coordinator.weights import Publications
from treeroll.core.model.events import (
    Drained,
    RunCancelled,
    RunClosed,
    RunCreated,
    TasksSubmitted,
    TreesAsked,
    Undrained,
)
from treeroll.core.model.history import History
from treeroll.core.model.run import Run, TaskSpec
from treeroll.core.scheduling import runs
from treeroll.core.scheduling.consumers import has_ended
from treeroll.errors import (
    InvalidInput,
    RunSuspended,
    UnknownRun,
    UnknownTree,
)
from treeroll.feed.collect import Collector
from treeroll.feed.feed import Feed
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import rollout_pb2_grpc
from treeroll.pb.v1 import store_pb2 as stored
from treeroll.records.assemble import pieces
from treeroll.scorers.base import ScoringService
from treeroll.scorers.fitness import Unfit
from treeroll.scorers.rules import ANYTHING, ScorerRules
from treeroll.tokenizer import Tokenizer
from treeroll.tracing.tracer import hear

MAX_TASKS_PER_CALL = 10_000
# A reader gets what is durable, and newer figures only if the commit that is on its way is done so soon, seconds.
FRESH_S = 1.0


class RolloutsApi(DeliveryCalls):
    """Serves clients of one coordinator."""

    def __init__(  # noqa: PLR0913  # the parts that calls are answered from
        self,
        coordinator: Coordinator,
        replicas: ReplicaPlane,
        feed: Feed,
        tokenizer: Tokenizer,
        scorer_timeouts: dict[str, float],
        restarts: Mapping[str, int],
        retention: Retention,
        scorers: ScoringService | None = None,
        keep_weights: int = 2,
        prospects: Prospects | None = None,
        rules: ScorerRules = ANYTHING,
        fleets: FleetPlane | None = None,
        decision: Callable[[str], Decision | None] = lambda pool: None,
    ) -> None:
        self._prospects = prospects or Prospects(coordinator.state)
        outlook, ended = self._prospects.outlook, partial(has_ended, coordinator.state)
        super().__init__(coordinator, feed, Collector(coordinator.store, feed, outlook, self._ask, ended), retention)
        self._tokenizer = tokenizer
        self._scorer_timeouts = scorer_timeouts
        self._scorers = scorers
        self._rules = rules
        retention.on_deleted = self._forget
        fleets = fleets or FleetPlane(coordinator, replicas, 1.0)
        self._status = Status(coordinator, replicas, tokenizer, retention, restarts, fleets, decision)
        self._elastic = Elastic(coordinator, replicas, fleets)
        self._rewards = RewardReports(coordinator, self._consumed, retention.turn)
        self._weights = Publications(coordinator, keep_weights)
        self._auditing = asyncio.Lock()

    def _run(self, run_id: str) -> Run:
        """A run that the caller may do anything with. UnknownRun, NotAllowed."""
        self._check_there(run_id)
        run = runs.get(self._coordinator.state, run_id)
        check_owner(run_id, run.spec.owner)
        return run

    async def _owner(self, run_id: str) -> str:
        """Whose a run is, also one of an earlier life of the service. UnknownRun."""
        if (run := self._coordinator.state.runs.get(run_id)) is not None:
            return run.spec.owner
        stored = await self._coordinator.store.load_run(run_id)
        if stored is None:
            raise UnknownRun(f"there is no run '{run_id}'")
        return api.Run.FromString(stored).owner

    def _service(self) -> api.ServiceStatus:
        """The service as the caller sees it: with the runs that it may see."""
        status, unread = self._status.message(), self._coordinator.ended.unread
        owners = {run_id: run.spec.owner for run_id, run in self._coordinator.state.runs.items()}
        owners |= {run_id: run.owner for run_id, run in unread.items()}
        seen = [run_id for run_id in status.run_ids if may_read(run_id, owners[run_id])]
        del status.run_ids[:]
        status.run_ids.extend(seen)
        lost, owners = self._coordinator.recovered.lost.runs, self._coordinator.recovered.owners
        for run_id in [run_id for run_id in status.lost_runs if not may_read(run_id, lost[run_id].owner)]:
            del status.lost_runs[run_id]
        for run_id in [run_id for run_id in status.suspended_runs if not may_read(run_id, owners[run_id])]:
            del status.suspended_runs[run_id]
        if caller().role not in (Role.OPERATOR, Role.VIEWER):  # nor whose trees they are
            status.damaged_trees.clear()
        return status

    def _consumed(self, run_id: str) -> Run:
        """A run that somebody wants the trees of."""
        run = self._run(run_id)
        self._retention.heard(run_id)
        return run

    def _check_suspended(self, run_id: str) -> None:
        recovered = self._coordinator.recovered
        if (why := recovered.suspended.get(run_id)) is not None:
            check_reader(run_id, recovered.owners[run_id])
            raise RunSuspended(f"run '{run_id}' is of an earlier life of this service, and cannot go on: {why}")

    def _check_there(self, run_id: str) -> None:
        """RunSuspended, or UnknownRun for a run that the store has forgotten."""
        self._check_suspended(run_id)
        loss = self._coordinator.recovered.lost.runs.get(run_id)
        if loss is not None and run_id not in self._coordinator.state.runs:
            check_reader(run_id, loss.owner)
            raise UnknownRun(loss.told())

    async def _ask(self, run_id: str, tree_ids: list[str]) -> None:
        await self._coordinator.call(TreesAsked(run_id, tree_ids))

    def _record(self, run_id: str) -> api.Run:
        record = records.run_record(runs.get(self._coordinator.state, run_id))
        self._prospects.tell(record)
        return self._told(record)

    def _models(self, run_id: str) -> Sequence[str]:
        return runs.get(self._coordinator.state, run_id).spec.models

    def _told(self, record: api.Run) -> api.Run:
        """A run's record with what is not stored of it."""
        run_id = record.run_id
        self._prospects.tell_replicas(record)
        record.tokenizer.CopyFrom(self._status.tokenizer_facts(self._models(run_id)))
        record.expired_trees = self._retention.expired[run_id]
        if (loss := self._coordinator.recovered.lost.runs.get(run_id)) is not None:
            record.lost = loss.told()
        record.staleness.update(self._feed.freshness.staleness[run_id])
        record.withheld = self._feed.freshness.withheld[run_id]
        return record

    @typed
    async def CreateRun(self, request: api.CreateRunRequest, context: Any) -> api.Run:
        check_run_id(request.run_id)
        self._check_suspended(request.run_id)
        if request.run_id in self._coordinator.state.runs:
            self._run(request.run_id)
        config = run_config(request.config_json, f"run '{request.run_id}'")
        if config.history_from:
            with suppress(UnknownRun):  # which says nothing, and is told so below
                check_reader(config.history_from, await self._owner(config.history_from))
        # Templates and scorers may have to be imported: not on the event loop.
        config = await asyncio.to_thread(with_chat_date, config, self._tokenizer.chat, self._today(request.run_id))
        history = await self._history(config)
        pools = tuple(self._coordinator.state.pools)
        spec = await asyncio.to_thread(
            run_spec,
            request.run_id,
            config,
            self._tokenizer.vocab_size,
            pools=pools,
            history=history,
            owner=caller().name,
            rules=self._rules,
        )
        if spec.run_id not in self._coordinator.state.runs:
            await check_loads(self._scorers, spec)
        check_inserts(spec, self._tokenizer)
        spec = replace(spec, ground=ground(spec, self._coordinator.builder, self._coordinator.orders.eos_token_ids))
        if spec.run_id not in self._coordinator.state.runs:
            check_deadline(config, clock.wall())
        self._scorer_timeouts.setdefault(spec.run_id, config.scorer_timeout_s)
        anew = spec.run_id not in self._coordinator.state.runs
        await self._coordinator.call(RunCreated(spec, clock.wall()))
        if anew:  # whatever was lost was of an earlier run of that name
            self._coordinator.recovered.lost.runs.pop(spec.run_id, None)
        return self._record(spec.run_id)

    def _today(self, run_id: str) -> date:
        """The day of a run that is there, which a client that asks for it again need not know; else this one."""
        known = self._coordinator.state.runs.get(run_id)
        return date.fromtimestamp(clock.wall()) if known is None else ChatSettings.of(known.spec.config_json).day

    async def _history(self, config: RunConfig) -> History:
        """What the run's allocator and route start with."""
        earlier = config.history_from
        stored = await self._coordinator.store.load_history(earlier) if earlier else {}
        return success_history(config, stored)

    @typed
    async def GetRun(self, request: api.GetRunRequest, context: Any) -> api.Run:
        self._check_there(request.run_id)
        check_reader(request.run_id, runs.get(self._coordinator.state, request.run_id).spec.owner)
        try:  # figures of what is durable: a tree that counts as finished can be leased
            async with asyncio.timeout(FRESH_S):
                await self._coordinator.call()
        except (TimeoutError, errors.StoreDown):
            return self._told(self._coordinator.durable_run(request.run_id))
        return self._record(request.run_id)

    @typed
    async def SubmitTasks(self, request: api.SubmitTasksRequest, context: Any) -> api.SubmitTasksReply:
        run = self._run(request.run_id)
        if self._coordinator.state.draining:
            raise errors.Drained("the service drains and takes no tasks: submit to another one, or `treeroll undrain`")
        if len(request.tasks) > MAX_TASKS_PER_CALL:
            raise InvalidInput(f"{len(request.tasks)} tasks in one call; send at most {MAX_TASKS_PER_CALL}")
        specs = await asyncio.to_thread(self._task_specs, request, run.spec.config_json)
        new = [spec for spec in specs if spec.key not in run.tasks]
        if new and self._coordinator.state.store_full:
            used = fullness(self._coordinator.store.address, self._coordinator.store_used or 1.0)
            raise errors.StoreFull(f"the service takes no tasks while its store is almost full: {used}")
        unfit = await unfit_tasks(self._scorers, run.spec, new)
        if not run.tasks and (hopeless := next((found for found in unfit if found.all), None)):
            raise InvalidInput(hopeless.sentence())
        if (tracer := self._coordinator.tracer) is not None:
            hear(context)
            tracer.submitted([spec.tree_id for spec in new])
        await self._coordinator.call(TasksSubmitted(request.run_id, specs))
        return api.SubmitTasksReply(
            tree_ids=[spec.tree_id for spec in specs], duplicates=len(specs) - len(new), unfit=map(_unfit, unfit)
        )

    def _task_specs(self, request: api.SubmitTasksRequest, config_json: str) -> list[TaskSpec]:
        chat = ChatSettings.of(config_json)
        return [task_spec(request.run_id, request.epoch, task, self._tokenizer, chat) for task in request.tasks]

    @typed
    async def CloseRun(self, request: api.CloseRunRequest, context: Any) -> api.Run:
        self._run(request.run_id)
        await self._coordinator.call(RunClosed(request.run_id))
        self._feed.notify(request.run_id)
        return self._record(request.run_id)

    @typed
    async def CancelRun(self, request: api.CancelRunRequest, context: Any) -> api.Run:
        self._run(request.run_id)
        await self._coordinator.call(RunCancelled(request.run_id))
        self._feed.notify(request.run_id)
        return self._record(request.run_id)

    @typed
    async def DeleteRun(self, request: api.DeleteRunRequest, context: Any) -> api.DeleteRunReply:
        check_owner(request.run_id, await self._owner(request.run_id))
        return api.DeleteRunReply(tasks=await self._retention.delete(request.run_id))

    def _forget(self, run_id: str) -> None:
        """The run was deleted."""
        self._scorer_timeouts.pop(run_id, None)
        self._feed.notify(run_id)

    @typed
    async def ReportRewards(self, request: api.ReportRewardsRequest, context: Any) -> api.ReportRewardsReply:
        return await self._rewards.report(request)

    @typed
    async def PublishWeights(self, request: api.PublishWeightsRequest, context: Any) -> api.WeightsStatus:
        check_may_publish()
        return await self._weights.publish(request)

    @typed
    async def GetWeights(self, request: api.GetWeightsRequest, context: Any) -> api.WeightsStatus:
        return await self._weights.status(request)

    @typed_parts
    async def GetTree(self, request: api.GetTreeRequest, context: Any) -> AsyncIterator[bytes]:
        """Parts come serialised, see `add_rollouts`, and each as soon as it is read: a large tree at once would hold up
        all others."""
        known = False
        async for page in self._coordinator.store.tree_pages(request.tree_id):
            part = pieces(page, page.first)
            if not known:
                run_id = stored.TreeOwner.FromString(page.header).run_id
                check_reader(run_id, await self._owner(run_id))
                known = True
                part += [_GROWING] if request.tree_id in self._coordinator.state.trees else []
            yield b"".join(part)
        if not known:
            raise UnknownTree(f"there is no tree '{request.tree_id}'; if there was, it expired or its run was deleted")

    @typed
    async def Audit(self, request: api.AuditRequest, context: Any) -> api.AuditReply:
        async with self._auditing:  # it reads the whole store: many at once would be all that is done
            report = await audit_elsewhere(self._coordinator.store, self._tokenizer.vocab_size)
        found = [api.Violation(invariant=name, detail=detail) for name, detail in report.violations]
        return api.AuditReply(
            violations=found, runs=report.runs, trees=report.trees, nodes=report.nodes, expired_trees=report.expired
        )

    @typed
    async def Drain(self, request: api.DrainRequest, context: Any) -> api.ServiceStatus:
        await self._coordinator.call(Drained())
        for run_id in self._coordinator.state.runs:
            self._feed.notify(run_id)
        return self._service()

    @typed
    async def Undrain(self, request: api.UndrainRequest, context: Any) -> api.ServiceStatus:
        await self._coordinator.call(Undrained())
        return self._service()

    @typed
    async def DrainReplicas(self, request: api.DrainReplicasRequest, context: Any) -> api.DrainReplicasReply:
        return await self._elastic.drain(request)

    @typed
    async def ScalePool(self, request: api.ScalePoolRequest, context: Any) -> api.ScalePoolReply:
        return await self._elastic.scale(request)

    @typed
    async def GetService(self, request: api.GetServiceRequest, context: Any) -> api.ServiceStatus:
        return self._service()


# Behind a tree's records: the last value of a field holds.
_GROWING = pb.Tree(status="growing").SerializeToString()


def _unfit(found: Unfit) -> api.UnfitTasks:
    task_id, reason = next(iter(found.reasons.items()))
    return api.UnfitTasks(
        scorer=found.scorer, seen=found.seen, count=len(found.reasons), task_id=task_id, reason=reason
    )


def add_rollouts(rollouts: RolloutsApi, server: Gate) -> None:
    """Serve `rollouts`. Trees come serialised: methods that hand them out are registered again without serialiser."""
    rollout_pb2_grpc.add_RolloutsServicer_to_server(rollouts, server)
    service = api.DESCRIPTOR.services_by_name["Rollouts"].full_name
    delivering: list[tuple[str, Any]] = [
        ("LeaseTrees", api.LeaseTreesRequest),
        ("CollectTrees", api.CollectTreesRequest),
        ("LeaseBatch", api.LeaseBatchRequest),
    ]
    for name, request in delivering:
        method: Any = grpc.unary_unary_rpc_method_handler(
            getattr(rollouts, name), request_deserializer=request.FromString
        )
        server.add_registered_method_handlers(service, {name: method})
    parts: Any = grpc.unary_stream_rpc_method_handler(
        rollouts.GetTree, request_deserializer=api.GetTreeRequest.FromString
    )
    server.add_registered_method_handlers(service, {"GetTree": parts})

"""A small Rollouts service in memory: enough of the contract to test clients, with faults to order.

It runs on a thread and an event loop of its own, as a real service would run elsewhere. Tests read its attributes and
set its faults directly; simple attribute access is safe across the threads.
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import numpy as np

from treeroll import ranges
from treeroll.errors import (
    ERROR_METADATA_KEY,
    GroupMoved,
    RewardConflict,
    RunClosed,
    RunConflict,
    TaskConflict,
    TreerollError,
    UnknownNode,
    UnknownRun,
    UnknownTree,
    grpc_code,
)
from treeroll.pb.v1 import common_pb2, rollout_pb2, rollout_pb2_grpc

PROMPT = [11, 12, 13]


def ids(*tokens: int) -> bytes:
    return np.array(tokens, "<i4").tobytes()


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def node(number: int, parent: int, path: str, tokens: list[int], **fields: Any) -> common_pb2.Node:
    """A node with plausible values in all required fields; the root has no logprobs and no versions."""
    sampled = {} if number == 0 else {"weight_versions": [common_pb2.WeightSpan(version=3, tokens=len(tokens))]}
    defaults: dict[str, Any] = {
        "depth": len(path.split(".")) if path else 0,
        "sibling_index": int(path.split(".")[-1]) if path else 0,
        "logprobs": b"" if number == 0 else floats(*[-0.5 * number] * len(tokens)),
        "text": f"<{number}>",
        "branch_reason": "initial" if number else "prompt",
        "decision": "boundary",
        "status": "inner",
        **sampled,
    }
    return common_pb2.Node(number=number, parent=parent, path=path, token_ids=ids(*tokens), **(defaults | fields))


def sample_tree(tree_id: str = "t0", task_id: str = "a", **fields: Any) -> common_pb2.Tree:
    """Prompt of 3; node 1 (2 tokens) forks into leaf 2 (3 tokens, eos, reward 1) and 3 (1 token, length, unscored)."""
    reward = common_pb2.Reward(scorer="math", version=1, value=1.0)
    defaults: dict[str, Any] = {
        "run_id": "r",
        "prompt_text": "Compute",
        "status": "complete",
        "nodes": [
            node(0, 0, "", PROMPT, n_leaves=2, tin=0, tout=4),
            node(1, 0, "0", [21, 22], token_start=3, n_leaves=2, tin=1, tout=4),
            node(3, 1, "0.1", [41], token_start=5, status="leaf", stop_reason="length", branch_reason="fork"),
            node(2, 1, "0.0", [31, 32, 33], token_start=5, status="leaf", stop_reason="eos", rewards=[reward]),
        ],
        "leaves": [
            common_pb2.LeafCredit(
                leaf=2,
                path_weight=0.5,
                advantages=np.array([0.25, -1.5], "<f8").tobytes(),
                reward_status="ok",
                reward=1.0,
            ),
            common_pb2.LeafCredit(leaf=3, path_weight=0.5, reward_status="missing"),
        ],
        "n_scored": 1,
        "n_censored": 2,
        "ledger": common_pb2.Ledger(granted=10, spent=6, returned=4),
        "temperature": 0.5,
        "top_p": 1.0,
        "top_k": 20,
        "logprobs_mode": "processed",
        "tokenizer_hash": "abc",
        "extra_json": '{"level": 2}',
        "answer": "5",
    }
    return common_pb2.Tree(tree_id=tree_id, task_id=task_id, **(defaults | fields))


def failed_tree(tree_id: str, task_id: str) -> common_pb2.Tree:
    """A task that ended without a sample."""
    return common_pb2.Tree(tree_id=tree_id, task_id=task_id, status="failed", error="prompt is too long")


@dataclass
class FakeRun:
    """A run; `feed` holds its ended trees in order. Tasks stay "growing" until the test (or auto_finish) ends them."""

    config_json: str
    state: str = "open"
    tasks: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # "epoch:task" -> (tree id, content)
    feed: list[common_pb2.Tree] = field(default_factory=list)
    rewards: dict[tuple[str, str, str, int], float] = field(default_factory=dict)

    def status(self, run_id: str) -> rollout_pb2.Run:
        failed = sum(not tree.leaves for tree in self.feed)
        return rollout_pb2.Run(
            run_id=run_id,
            config_json=self.config_json,
            state=self.state,
            submitted=len(self.tasks),
            growing=len(self.tasks) - len(self.feed),
            finished=len(self.feed) - failed,
            failed=failed,
        )


@dataclass
class FakeGroup:
    """Cursor of one consumer group: leases by feed position."""

    leases: dict[int, tuple[str, float]] = field(default_factory=dict)  # position -> (lease id, deadline)
    holders: dict[int, str] = field(default_factory=dict)  # position -> consumer
    acked: set[int] = field(default_factory=set)
    delivered: dict[int, int] = field(default_factory=dict)  # position -> times
    epoch: int = 0


class FakeRollouts(rollout_pb2_grpc.RolloutsServicer):
    """The service. `auto_finish` turns each task into an ended tree at once."""

    def __init__(self) -> None:
        self.runs: dict[str, FakeRun] = {}
        self.groups: dict[tuple[str, str], FakeGroup] = {}
        self.calls: list[tuple[str, Any]] = []  # every request, in order
        self.metadata: dict[str, str] = {}  # of the last call
        self.auto_finish: Callable[[str, str], common_pb2.Tree] | None = sample_tree
        self.failures: list[TreerollError | grpc.StatusCode] = []  # the next calls fail with these
        self.replies_get_lost = False  # trees are leased, and nobody hears of it

    def requests(self, method: str) -> list[Any]:
        """All requests of one method so far."""
        return [request for name, request in self.calls if name == method]

    def unsettled(self, run_id: str, group: str = "default") -> list[str]:
        """Trees leased now."""
        leases = self.groups[run_id, group].leases
        return [self.runs[run_id].feed[position].tree_id for position in sorted(leases)]

    def acked(self, run_id: str, group: str = "default") -> list[str]:
        """Trees acknowledged."""
        return [self.runs[run_id].feed[position].tree_id for position in sorted(self.groups[run_id, group].acked)]

    def take_away(self, run_id: str, tree_id: str, group: str = "default") -> None:
        """Let another consumer have a leased tree."""
        place = self.groups[run_id, group]
        position = next(p for p in place.leases if self.runs[run_id].feed[p].tree_id == tree_id)
        place.leases[position] = ("somebody else's", time.monotonic() + 1000)

    def _run(self, run_id: str) -> FakeRun:
        if run_id not in self.runs:
            raise UnknownRun(f"run '{run_id}' does not exist")
        return self.runs[run_id]

    async def get_service(self, _: Any) -> rollout_pb2.ServiceStatus:
        return rollout_pb2.ServiceStatus(
            version="0.1.0",
            engine=common_pb2.EngineInfo(engine="simulated", block_size=32),
            replicas=[rollout_pb2.ReplicaStatus(replica_id="r0", state="ready", slots=8)],
            run_ids=list(self.runs),
            violations={"NoAckedLoss": 0},
        )

    async def create_run(self, request: Any) -> rollout_pb2.Run:
        run = self.runs.setdefault(request.run_id, FakeRun(request.config_json))
        if run.config_json != request.config_json:
            raise RunConflict(f"run '{request.run_id}' exists with another configuration")
        return run.status(request.run_id)

    async def get_run(self, request: Any) -> rollout_pb2.Run:
        return self._run(request.run_id).status(request.run_id)

    async def submit_tasks(self, request: Any) -> rollout_pb2.SubmitTasksReply:
        run = self._run(request.run_id)
        if run.state != "open":
            raise RunClosed(f"run '{request.run_id}' is closed")
        reply = rollout_pb2.SubmitTasksReply()
        for task in request.tasks:
            key, content = f"{request.epoch}:{task.task_id}", task.SerializeToString(deterministic=True)
            tree_id = hashlib.sha256(f"{request.run_id}/{key}".encode()).hexdigest()[:16]
            known = run.tasks.setdefault(key, (tree_id, content))
            if known[1] != content:
                raise TaskConflict(f"task '{task.task_id}' exists with other content")
            if known == (tree_id, content) and tree_id in {tree.tree_id for tree in run.feed}:
                reply.duplicates += 1
            elif self.auto_finish is not None:
                run.feed.append(self.auto_finish(tree_id, task.task_id))
            reply.tree_ids.append(tree_id)
        return reply

    async def close_run(self, request: Any) -> rollout_pb2.Run:
        self._run(request.run_id).state = "closed"
        return await self.get_run(request)

    async def cancel_run(self, request: Any) -> rollout_pb2.Run:
        self._run(request.run_id).state = "cancelled"
        return await self.get_run(request)

    async def open_group(self, request: Any) -> rollout_pb2.GroupPosition:
        self._run(request.run_id)
        group = self.groups.setdefault((request.run_id, request.group), FakeGroup())
        acked = [rollout_pb2.SeqRange(first=first, last=last) for first, last in ranges.of(p + 1 for p in group.acked)]
        return rollout_pb2.GroupPosition(run_created=7.0, epoch=group.epoch, acknowledged=acked)

    async def seek_group(self, request: Any) -> rollout_pb2.GroupPosition:
        named = {seq - 1 for pair in request.acknowledged for seq in range(pair.first, pair.last + 1)}
        old = self.groups.get((request.run_id, request.group), FakeGroup())
        self.groups[request.run_id, request.group] = FakeGroup(acked=named, epoch=old.epoch + 1)
        return await self.open_group(request)

    async def lease_trees(self, request: Any) -> rollout_pb2.LeaseTreesReply:
        run = self._run(request.run_id)
        group = self.groups.setdefault((request.run_id, request.group), FakeGroup())
        if request.HasField("group_epoch") and request.group_epoch != group.epoch:
            raise GroupMoved("the group was moved")
        give_up = time.monotonic() + request.wait_s
        while True:
            now = time.monotonic()
            free = [
                position
                for position in range(len(run.feed))
                if position not in group.acked and not (group.leases.get(position, ("", 0.0))[1] > now)
            ]
            done = len(group.acked) + (len(group.leases) if request.holds else 0)
            everything = run.state != "open" and len(run.tasks) == len(run.feed) == done
            if free or everything or now >= give_up:
                break
            await asyncio.sleep(0.01)
        deliveries = [self._deliver(run, group, place, request.lease_s) for place in free[: request.max_trees]]
        group.holders.update(dict.fromkeys(free[: request.max_trees], request.consumer))
        if deliveries and self.replies_get_lost:
            await asyncio.Event().wait()
        return rollout_pb2.LeaseTreesReply(deliveries=deliveries, exhausted=everything)

    def _deliver(self, run: FakeRun, group: FakeGroup, position: int, lease_s: float) -> rollout_pb2.Delivery:
        times = group.delivered[position] = group.delivered.get(position, 0) + 1
        group.leases[position] = (f"{position}/{times}", time.monotonic() + lease_s)
        return rollout_pb2.Delivery(
            lease_id=f"{position}/{times}",
            deadline=time.time() + lease_s,
            delivery_seq=position + 1,
            times_delivered=times,
            tree=run.feed[position],
        )

    def _split(self, request: Any) -> tuple[FakeGroup, dict[str, int], list[str]]:
        """Group, leases in force (id -> position), lost lease ids."""
        group = self.groups[request.run_id, request.group]
        now = time.monotonic()
        held = {lease: position for position, (lease, deadline) in group.leases.items() if deadline > now}
        mine = {lease: held[lease] for lease in request.lease_ids if lease in held}
        return group, mine, [lease for lease in request.lease_ids if lease not in held]

    async def renew_leases(self, request: Any) -> rollout_pb2.LeasesReply:
        group, mine, lost = self._split(request)
        group.leases.update({p: (lease, time.monotonic() + request.lease_s) for lease, p in mine.items()})
        return rollout_pb2.LeasesReply(lost=lost)

    async def ack_trees(self, request: Any) -> rollout_pb2.LeasesReply:
        group, mine, lost = self._split(request)
        for position in mine.values():
            del group.leases[position]
            group.acked.add(position)
        return rollout_pb2.LeasesReply(lost=lost)

    async def release_trees(self, request: Any) -> rollout_pb2.LeasesReply:
        group, mine, lost = self._split(request)
        theirs = [place for place in group.leases if request.consumer and group.holders[place] == request.consumer]
        for position in {*mine.values(), *theirs}:
            del group.leases[position]
        return rollout_pb2.LeasesReply(lost=lost)

    async def report_rewards(self, request: Any) -> rollout_pb2.ReportRewardsReply:
        run, reply = self._run(request.run_id), rollout_pb2.ReportRewardsReply()
        for report in request.rewards:
            tree = self._tree(report.tree_id)
            if report.path not in {entry.path for entry in tree.nodes}:
                raise UnknownNode(f"tree {report.tree_id} has no node '{report.path}'")
            key = (report.tree_id, report.path, report.scorer, report.version)
            if run.rewards.get(key, report.value) != report.value:
                raise RewardConflict(f"node {report.tree_id}:{report.path} has another reward")
            reply.repeated += key in run.rewards
            reply.applied += key not in run.rewards
            run.rewards[key] = report.value
        return reply

    def _tree(self, tree_id: str) -> common_pb2.Tree:
        for run in self.runs.values():
            for tree in run.feed:
                if tree.tree_id == tree_id:
                    return tree
        raise UnknownTree(f"tree '{tree_id}' does not exist")

    async def get_tree(self, request: Any) -> common_pb2.Tree:
        return self._tree(request.tree_id)

    async def audit(self, _: Any) -> rollout_pb2.AuditReply:
        return rollout_pb2.AuditReply(violations=[rollout_pb2.Violation(invariant="X", detail="y")], runs=1)

    async def drain(self, _: Any) -> rollout_pb2.ServiceStatus:
        return await self.get_service(_)

    async def undrain(self, _: Any) -> rollout_pb2.ServiceStatus:
        return await self.get_service(_)


def _rpc(method: str, handler: str) -> Any:
    """A servicer method: records the call, fails if a fault was ordered, maps typed errors as the real service does."""

    async def call(self: FakeRollouts, request: Any, context: Any) -> Any:
        self.calls.append((method, request))
        self.metadata = dict(context.invocation_metadata())
        try:
            if self.failures:
                failure = self.failures.pop(0)
                if isinstance(failure, TreerollError):
                    raise failure
                await context.abort(failure, "ordered")
            return await getattr(self, handler)(request)
        except TreerollError as error:
            code = getattr(grpc.StatusCode, grpc_code(error))
            await context.abort(code, str(error), ((ERROR_METADATA_KEY, type(error).__name__),))

    return call


for _method in rollout_pb2.DESCRIPTOR.services_by_name["Rollouts"].methods:
    _handler = "".join(f"_{c.lower()}" if c.isupper() else c for c in _method.name).lstrip("_")
    setattr(FakeRollouts, _method.name, _rpc(_method.name, _handler))


class FakeService:
    """Serves a FakeRollouts on a free loopback port from its own thread; may be stopped and started again."""

    def __init__(self) -> None:
        self.rollouts = FakeRollouts()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake service", daemon=True)
        self._server: Any = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def start(self) -> None:
        self._do(self._start())

    def stop(self) -> None:
        """Abrupt: calls in flight are cut."""
        if self._server is not None:
            self._do(self._server.stop(0))
            self._server = None

    async def _start(self) -> None:
        self._server = grpc.aio.server(
            options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 * 2**20))
        )
        rollout_pb2_grpc.add_RolloutsServicer_to_server(self.rollouts, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def __enter__(self) -> "FakeService":
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

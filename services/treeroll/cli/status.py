"""`treeroll status`: a service at a glance."""

from typing import TYPE_CHECKING, Annotated

import typer

from treeroll.cli.options import DEFAULT_ADDRESS, AsJson, ServiceAddress, StoreUrl

if TYPE_CHECKING:
    from treeroll.client import RunStatus, ServiceStatus, WeightsStatus
    from treeroll.client.status import PoolStatus, ReplicaStatus

# Newest runs that are shown.
RUNS = 20
# Addresses of replicas' metrics that are.
MOST_SHOWN = 4


def status(
    address: ServiceAddress = DEFAULT_ADDRESS,
    as_json: AsJson = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say only what is wrong; exit with 1 if somebody must act.")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Show a service: engine, replicas, runs, broken promises (none is health).

    While its store is away it says since when and why, and runs are as they are
    in the store. A service that stands by says for whom.

    With --check it says only what is wrong, from what the service writes to its store
    once a second, and exits with 1 if somebody must act, with 0 if all is well or there
    is no more than advice. --store is then where that lies, for a service that may be dead.

    [bold]Examples[/bold]

      treeroll status --address 127.0.0.1:7070

      treeroll status --check --store redis://127.0.0.1:6379/0
    """
    import json
    from dataclasses import asdict

    from treeroll.cli.reach import reach
    from treeroll.errors import InvalidInput, StandsBy

    if check:
        _check(address, store, as_json)
        return
    if store is not None:
        raise InvalidInput("--store is for --check; without it the service is asked, give its --address")
    try:
        with reach(address) as client:
            service = client.status()
            runs = [client.run(run_id).status() for run_id in service.run_ids[-RUNS:]]
            weights = [client.weights(pool.name) for pool in service.pools]
    except StandsBy as error:
        print(json.dumps({"standby": str(error)}) if as_json else f"{address}: {error}")
        return
    if as_json:
        parts = {"service": asdict(service), "runs": list(map(asdict, runs)), "weights": list(map(asdict, weights))}
        print(json.dumps(parts, indent=2))
    else:
        _show(address, service, runs, weights)


def _check(address: str, store: str | None, as_json: bool) -> None:
    import json

    from treeroll.cli.console import plain
    from treeroll.cli.watching import store_url, view_of
    from treeroll.errors import InvalidInput, Unavailable
    from treeroll.watch.verdict import any_alarm, verdict

    try:
        url = store_url(address, store)
    except InvalidInput as error:
        if isinstance(error.__context__, Unavailable):  # for a check that is no mistake of who asks
            raise error.__context__ from None
        raise
    found = verdict(view_of(url))
    if as_json:
        print(json.dumps([{"rule": one.rule, "severity": one.severity, "sentence": one.sentence} for one in found]))
    else:
        for one in found:
            print(f"{one.severity.upper()} {one.rule}: {plain(one.sentence)}")
        if not found:
            print("all well")
    if any_alarm(found):
        raise typer.Exit(1)


def _show(address: str, service: "ServiceStatus", runs: "list[RunStatus]", weights: "list[WeightsStatus]") -> None:
    from treeroll.cli.console import counted, number, out, plain, table

    engine = service.engine
    served = service.model_names() if len(service.pools) < 2 else f"{len(service.pools)} models"
    model = f"{engine.engine} {engine.engine_version} with {served}" if engine else "no replica yet"
    broken = ", ".join(f"{name} {times}x" for name, times in sorted(service.violations.items()) if times)
    draining = ", draining: no new trees" if service.draining else ""
    facts = [
        ("service", f"{address}, treeroll {service.version}, epoch {service.epoch}"),
        ("engine", model),
        *[("made of", made) for made in _made_of(service.replicas)],
        *[("stop ids", _stop_ids(pool)) for pool in service.pools],
        *[("weights", said) for pool in weights if (said := _weights(pool))],
        ("store", f"{service.store}, durability {service.durability}{_room(service)}"),
        *([("waits for it", _outage(service))] if service.store_outage else []),
        *([("metrics", said)] if (said := _metrics(service.replicas)) else []),
        ("work", f"{service.live_trees} trees growing, {service.waiting_tasks} tasks waiting{draining}"),
        *([("took up", _taken_up(service))] if service.recovered_trees or service.damaged_trees else []),
        *([("lost", _lost(service))] if service.store_losses else []),
        ("gone", f"{number(service.expired_trees)} trees expired, {counted(service.deleted_runs, 'run')} deleted"),
        ("promises", f"BROKEN: {broken}" if broken else "all kept"),
    ]
    replicas = [
        (
            f"{r.replica_id}.{r.incarnation}",
            r.state,
            f"{r.branches}/{r.slots}",
            f"{r.kv_usage:.0%}",
            number(r.generated_tokens),
            f"{r.silent_s:.1f}",
            str(r.restarts),
            _place(r),
        )
        for r in service.replicas
    ]
    pools = [
        (
            pool.name,
            pool.engine.model if pool.engine else "no replica yet",
            _there(pool),
            f"{pool.branches}/{pool.slots}",
            str(pool.waiting_branches),
            str(pool.live_trees),
        )
        for pool in service.pools
    ]
    lines = [
        (
            r.run_id,
            r.state,
            f"{r.finished + r.failed + sum(r.filtered.values())}/{r.submitted}",
            str(r.failed),
            str(sum(r.filtered.values())),
            number(r.leaves),
            number(r.ledger.spent),
            number(r.reward_errors),
        )
        for r in runs
    ]
    columns = ("replica", "state", ">branches", ">KV", ">tokens", ">silent s", ">restarts", "node")
    console = out()
    console.print(table("", ("", ""), facts))
    if len(service.pools) > 1 or any(pool.wanted not in (None, pool.replicas) for pool in service.pools):
        console.print(table("pools", ("pool", "model", ">replicas", ">branches", ">waiting", ">trees"), pools))
    console.print(table("replicas", columns, replicas))
    for line in filter(None, map(_trouble, service.replicas)):
        console.print(plain(line), markup=False, soft_wrap=True)
    for pool in service.pools:
        if pool.not_scheduled:
            more = f"; {pool.not_scheduled} wait for a node in all" if pool.not_scheduled > 1 else ""
            console.print(plain(f"{pool.not_scheduled_because}{more}"), markup=False, soft_wrap=True)
    for pool in service.pools:
        if pool.desired is not None:
            name = f"pool '{pool.name}'" if pool.name else "the pool"
            said = f"demand asks for {counted(pool.desired, 'replica')} of {name}: {pool.desired_because}"
            console.print(plain(said), markup=False, soft_wrap=True)
    for why in service.lost_runs.values():
        console.print(plain(why), markup=False, soft_wrap=True)
    for run_id, why in service.suspended_runs.items():
        console.print(plain(f"run {run_id} is suspended: {why}"), markup=False, soft_wrap=True)
    for why in service.damaged_trees.values():
        console.print(plain(f"{why}; it grows anew"), markup=False, soft_wrap=True)
    if lines:
        console.print(
            table(
                "runs", ("run", "state", ">done", ">failed", ">dropped", ">leaves", ">tokens", ">reward errors"), lines
            )
        )
    for line in filter(None, (said for run in runs for said in (_budget(run), _models(run)))):
        console.print(plain(line), markup=False, soft_wrap=True)


def _there(pool: "PoolStatus") -> str:
    """Replicas that are there, of those that are wanted, and how many of them are to end."""
    wanted = "" if pool.wanted is None else f"/{pool.wanted}"
    return f"{pool.replicas}{wanted}" + (f", {pool.draining} draining" if pool.draining else "")


def _outage(service: "ServiceStatus") -> str:
    """Since when and why the service waits for its store."""
    from datetime import UTC, datetime

    since = datetime.fromtimestamp(service.store_outage_since or 0.0, UTC)
    return f"since {since:%Y-%m-%d %H:%M:%S} UTC, nothing grows: {service.store_outage}"


def _room(service: "ServiceStatus") -> str:
    """How much of its memory the store has used; "" without a limit."""
    used = service.store_used
    if used is None:
        return ""
    return f", {used:.0%} of its memory used" + (", too full: no tree starts" if service.store_full else "")


def _taken_up(service: "ServiceStatus") -> str:
    """What it found in its store when it started."""
    from treeroll.cli.console import counted

    damaged = f", {len(service.damaged_trees)} that were damaged grow anew" if service.damaged_trees else ""
    found = f"{counted(service.recovered_trees, 'tree')} of {counted(service.recovered_nodes, 'node')}"
    return f"{found} in {service.recovery_s:.1f} s{damaged}"


def _lost(service: "ServiceStatus") -> str:
    """What its store forgot since it started."""
    from treeroll.cli.console import counted, number

    return (
        f"the store went back in time {service.store_losses}x, with {counted(service.lost_tasks, 'task')}, "
        f"{counted(service.lost_trees, 'ended tree')} and {number(service.lost_tokens)} tokens"
    )


def _place(replica: "ReplicaStatus") -> str:
    """Its host, and the ids of its GPUs there."""
    gpus = ",".join(gpu.partition(" ")[0] for gpu in replica.origin.gpus)
    return f"{replica.origin.host} GPU {gpus}" if gpus else replica.origin.host


def _made_of(replicas: "list[ReplicaStatus]") -> list[str]:
    """What living replicas are made of: a line for each kind of them, which names its replicas if there are several."""
    kinds: dict[str, list[str]] = {}
    for one in replicas:
        if one.state == "lost":
            continue
        origin = one.origin
        names = sorted({gpu.partition(" ")[2] or gpu for gpu in origin.gpus})
        parts = [f"treeroll {origin.version}", *(f"{name} {said}" for name, said in sorted(origin.software.items()))]
        said = ", ".join([*parts, *names, *([f"model digest {origin.model_digest}"] if origin.model_digest else [])])
        kinds.setdefault(said, []).append(one.replica_id)
    if len(kinds) == 1:
        return list(kinds)
    return [f"{', '.join(of[:3])}{' ...' if len(of) > 3 else ''}: {said}" for said, of in kinds.items()]


def _metrics(replicas: "list[ReplicaStatus]") -> str:
    """Where living replicas answer Prometheus; "" if none does."""
    found = [f"{one.replica_id} {one.origin.metrics}" for one in replicas if one.origin.metrics and one.state != "lost"]
    more = f" and {len(found) - MOST_SHOWN} more (--json)" if len(found) > MOST_SHOWN else ""
    return ", ".join(found[:MOST_SHOWN]) + more


def _trouble(replica: "ReplicaStatus") -> str:
    """Why a replica does not get its share of the work, as one line; "" if it does."""
    if not replica.reason:
        return ""
    again = f"; it is tried again in {replica.retry_s:.0f} s" if replica.retry_s else ""
    return f"{replica.replica_id} is {replica.state}: {replica.reason}{again}"


def _weights(pool: "WeightsStatus") -> str:
    """The pool's weights; "" if it has those that it was started with, and no others are on their way."""
    coming, behind = pool.publication, [one for one in pool.replicas if one.version < pool.version]
    said = [f"version {pool.version}"] if pool.version else []
    said += [f"version {coming.version} is {coming.phase}"] if coming else []
    said += [f"{one.replica_id} is behind at version {one.version}" for one in behind]
    return (f"{pool.pool}: " if pool.pool else "") + ", ".join(said) if said else ""


def _stop_ids(pool: "PoolStatus") -> str:
    """The ids that end a text of the pool's model."""
    ids = ", ".join(map(str, pool.stop_token_ids)) or "none: paths run to max_tokens"
    return f"{pool.name}: {ids}" if pool.name else ids


def _budget(run: "RunStatus") -> str:
    """What a run may use and why it came short, as one line; "" if there is nothing to say."""
    from treeroll.cli.progress import budget_line

    caps = budget_line([(cap.resource, cap.spent, cap.limit) for cap in run.caps])
    said = [f"budget: {caps}"] if caps else []
    if run.stop_reason:
        said.append(f"stopped: {run.stop_detail}")
    return f"{run.run_id}: {'; '.join(said)}" if said else ""


def _models(run: "RunStatus") -> str:
    """Where a route has sent the run's trees, as one line; "" without a route."""
    from treeroll.cli.console import number

    said = [f"{use.model} {number(use.trees)} trees, {number(use.tokens)} tokens" for use in run.models]
    return f"{run.run_id}: {'; '.join(said)}" if said else ""

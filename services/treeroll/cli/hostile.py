"""`scripts/hostile`: a real service among hostile clients and replicas, for users and CI."""

import asyncio
from typing import Annotated

import typer

from treeroll.cli.main import App
from treeroll.errors import TreerollError

app = App(rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)
HELP = {"help_option_names": ["-h", "--help"]}


@app.callback(context_settings=HELP)
def hostile() -> None:
    """A real service among hostile clients and replicas."""


@app.command(context_settings=HELP)
def messages(
    count: Annotated[int, typer.Option(min=1, help="Messages of each side.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    first: Annotated[
        int, typer.Option(min=0, help="Number of the first message: goes on where another call ended.")
    ] = 0,
    sides: Annotated[str, typer.Option(metavar="SIDE,...", help="client, replica, or both.")] = "client,replica",
    show: Annotated[int | None, typer.Option(metavar="NUMBER", help="Print one message of each side, and end.")] = None,
) -> None:
    """Send fuzzed messages of every method, from the client's side and the replica's.

    Starts Redis, a coordinator, an honest replica and an honest client, each a process of its
    own. Messages follow the protos, with values at the edges and bytes changed; each is made from
    the seed and its number alone, but for grants, which are those that the service gave. Prints
    how calls ended, the honest client's latencies, and memory. Exit code 1 if the service or a
    part of it ends, leaves a traceback in its log or answers UNKNOWN or INTERNAL, or if its audit
    finds something.

    [bold]Examples[/bold]

      scripts/hostile messages --count 1000000

      scripts/hostile messages --seed 0 --show 4711     what message 4711 is

      scripts/hostile messages --seed 0 --first 4711 --count 1 --sides client     send it alone
    """
    from treeroll.chaos import hostile_messages
    from treeroll.cli.bench.running import unless_interrupted
    from treeroll.cli.console import note

    if show is not None:
        method, raw = hostile_messages.client_call(seed, show)
        note(f"client: {method} {raw.hex()}")
        note(f"replica: {hostile_messages.replica_message(seed, show).hex()}")
        return
    asyncio.run(unless_interrupted(_messages(sides.split(","), seed, first, count)))


async def _messages(sides: list[str], seed: int, first: int, count: int) -> None:
    from treeroll.chaos.fuzz import fuzz
    from treeroll.chaos.siege import Siege
    from treeroll.cli.console import note

    found: list[str] = []
    async with Siege() as siege:
        for side in sides:
            outcome = await fuzz(siege, side, seed, first, count, note)
            for line in (*outcome.text(), *outcome.findings):
                note(line)
            found += outcome.findings
        found += [f"{one.invariant}: {one.detail}" for one in (await siege.client.audit()).violations]
    note(f"{_conditions()}; seed {seed}")
    if found:
        raise TreerollError(f"{len(found)} findings, the first: {found[0]}")
    note("nothing ended, nothing was UNKNOWN or INTERNAL, the log has no traceback, and the audit is clean")


@app.command(context_settings=HELP)
def connections(
    idle: Annotated[int, typer.Option(min=0, help="Connections that say nothing after their greeting.")] = 5_000,
    silent: Annotated[int, typer.Option(min=0, help="Connections that never say anything.")] = 5_000,
    dripping: Annotated[int, typer.Option(min=0, help="Connections that send a byte now and then.")] = 500,
    streams: Annotated[int, typer.Option(min=0, help="Sessions that never say hello.")] = 5_000,
    waiting: Annotated[int, typer.Option(min=0, help="Calls that wait for trees where none come.")] = 2_000,
    rounds: Annotated[int, typer.Option(min=1, help="Quiet and flooded times of each kind, in turns.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each of them.")] = 10.0,
) -> None:
    """Flood a service with connections and streams, and see what an honest client feels of it.

    Starts what `messages` starts. Prints, for each kind, the honest client's p99 while flooded over
    that of the quiet times between, and memory and open files of the service in each. Exit code 1
    if the service ends. What the flood itself costs this machine is in the ratios.
    """
    from treeroll.cli.bench.running import unless_interrupted

    counts = {
        "idle connections": idle, "silent connections": silent, "dripping connections": dripping,
        "empty streams": streams, "waiting calls": waiting,
    }  # fmt: skip
    asyncio.run(
        unless_interrupted(_connections({name: count for name, count in counts.items() if count}, rounds, seconds))
    )


async def _connections(counts: dict[str, int], rounds: int, seconds: float) -> None:
    from treeroll.chaos.flood import flood
    from treeroll.chaos.siege import Siege
    from treeroll.cli.console import note

    async with Siege() as siege:
        for name, count in counts.items():
            for line in (await flood(siege, name, count, rounds, seconds)).text():
                note(line)
    note(_conditions())


def _conditions() -> str:
    from treeroll.bench.machine import commit, machine

    where = machine()
    return f"{where['processor']}, {where['cores']} cores, load {where['load_average'][0]}; commit {commit()}"


if __name__ == "__main__":
    app()

"""`scripts/chaos`: faults on real processes, for users and CI."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from treeroll.cli.main import App
from treeroll.errors import TreerollError

if TYPE_CHECKING:
    from treeroll.chaos.ordeal import Ordeal
    from treeroll.chaos.world import Size, World

# A table in a file has no edge to wrap at.
WIDE = 240
# Of one run of a soak, and of kills: what went wrong is known after each.
STRIKES, KILLS = 4, 25

app = App(rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def chaos(
    seed: Annotated[int, typer.Option(help="Of all that is drawn: faults, whom they befall, how long, tokens.")] = 0,
    faults: Annotated[str, typer.Option(metavar="NAME,...", help="Which ones; see --list.")] = "all",
    minutes: Annotated[float, typer.Option(min=0.1, help="Begin new runs for so long.")] = 2.0,
    every: Annotated[
        float | None,
        typer.Option(
            min=10.0, metavar="SECONDS", help="A brief fault so often instead, beside runs without any: what it costs."
        ),
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Measure the table of faults instead, row by row (half an hour).")
    ] = False,
    kills: Annotated[
        int | None,
        typer.Option(min=1, help="Kill the coordinator so many times instead, at every failpoint."),
    ] = None,
    engine: Annotated[
        Literal["simulated", "vllm"],
        typer.Option(help="Of replicas. vLLM never makes the same tokens twice: trees are not held against others."),
    ] = "simulated",
    durability: Annotated[
        Literal["everysec", "always"],
        typer.Option(help="Of Redis; with everysec one that is killed may forget two seconds, which is found."),
    ] = "always",
    to: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="With --table: write its rows to this JSON file, too.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Name the faults, and end.")] = False,
) -> None:
    """Break a service piece by piece, and check that nothing is lost.

    Starts Redis, a coordinator, three replicas with the simulated engine and two trainers, each
    a process of its own with a proxy on its connection; then grows trees while faults drawn from
    the seed strike, and prints for each how long the run stood still, how soon it went on, and
    what was granted again. At the end of each run trainers' journals are held against the store:
    every task ended once and reached a trainer, nothing came again after it was acknowledged,
    accounts are exact, and every token and reward is that of a run to which nothing happened.
    Exit code 1 if any of it is not so. Nothing is left behind.

    With --kills the coordinator dies at named places of its own code instead: before and after a
    commit, while it comes back, when it has lent trees and told nobody. It is started again, or
    one that stood by takes over. Engines count what they decode: what of it is in no tree was
    decoded twice.

    Times are those of this machine, with all else that runs on it: upper bounds.

    [bold]Examples[/bold]

      scripts/chaos

      scripts/chaos --faults redis-silent,kill-replica --minutes 1 --seed 7

      scripts/chaos --minutes 15 --every 30          a soak

      scripts/chaos --kills 200

      scripts/chaos --kills 20 --engine vllm         the same with the demo model

      scripts/chaos --table                          what docs/guarantees.md shows

      scripts/chaos --table --faults redis-killed    its rows of one fault
    """
    from treeroll.chaos.faults import chosen

    if show:
        _list()
        return
    from treeroll.chaos.world import Size
    from treeroll.cli.bench.running import unless_interrupted

    names, size = chosen(faults), Size(durability=durability)
    if engine == "vllm":
        if kills is None:
            raise typer.BadParameter(
                "only --kills has real engines: other figures are of engines as fast as they are told"
            )
        size = Size(engine="vllm", replicas=2, slots=16, durability=durability)
    if kills is not None:
        work = _kill(kills, size, seed)
    elif every is not None:
        work = _soak(names, durability, seed, 60 * minutes, every)
    else:
        work = _measure(names, size, seed, to) if table else _strike(names, size, seed, 60 * minutes)
    asyncio.run(unless_interrupted(work))


def _list() -> None:
    from treeroll.chaos.faults import all_faults
    from treeroll.cli.console import out
    from treeroll.cli.console import table as grid

    rows = [[name, fault.what, fault.unavailable() or "yes"] for name, fault in all_faults().items()]
    out().print(grid("", ["fault", "what happens", "here"], rows))


async def _strike(names: Sequence[str], size: "Size", seed: int, seconds: float) -> None:
    """Runs with drawn faults, until the time is over."""
    from random import Random

    from treeroll import clock
    from treeroll.chaos.faults import drawn
    from treeroll.chaos.measure import Measured
    from treeroll.cli.console import note

    dice, until, strikes = Random(f"faults-{seed}"), clock.monotonic() + seconds, 0  # noqa: S311 - no secret
    async with _world(size, seed) as (_, ordeal):
        while not strikes or clock.monotonic() < until:
            outcome = await ordeal.perform(drawn(names, dice, STRIKES))
            for struck in outcome.struck:
                note(f"  {' and '.join(struck.strike.names)}: {Measured.of(outcome, struck).text()}")
            note(f"{outcome.tasks} tasks, {outcome.regrants} branches granted again: {_verdict(outcome.findings)}")
            strikes += len(outcome.struck)
            if outcome.findings:
                raise TreerollError(f"with --seed {seed}, at strike {strikes}: {'; '.join(outcome.findings)}")
    note(f"{strikes} strikes, and nothing was lost, doubled or different")


async def _soak(names: Sequence[str], durability: str, seed: int, seconds: float, every_s: float) -> None:
    """Runs with a brief fault now and then, and runs without, until there were faults for so long."""
    from random import Random

    from treeroll.bench.machine import commit
    from treeroll.chaos.soak import COST, GROWTH, STRIKES, Soak, cost, growth, soak_size
    from treeroll.cli.console import note, out
    from treeroll.cli.console import table as grid

    size, began = soak_size(durability), commit()
    async with _world(size, seed) as (world, ordeal):
        soak = Soak(world, ordeal, names, Random(f"soak-{seed}"), every_s)  # noqa: S311 - no secret
        while len(soak.pairs) * STRIKES * every_s < seconds:
            pair = await soak.pair()
            share, tasks = pair.struck_rate / pair.quiet_rate, pair.struck.tasks + pair.quiet.tasks
            findings = [*pair.struck.findings, *pair.quiet.findings]
            note(
                f"{len(soak.pairs) * STRIKES} faults: {pair.struck_rate:.0f} tokens a second, {share:.2f} x of those "
                f"without, {tasks} tasks, {pair.held.keys} keys: {_verdict(findings)}"
            )
            if findings:
                raise TreerollError(f"with --seed {seed}, in pair {len(soak.pairs)}: {'; '.join(findings)}")
    out().print(grid("", COST, cost(soak.pairs)))
    out().print(grid("", GROWTH, growth(soak.pairs)))
    out().print(_where(seed, size, began), markup=False)


async def _kill(count: int, size: "Size", seed: int) -> None:
    """Runs in which the coordinator dies at failpoints, and what came of it."""
    from random import Random

    from treeroll.bench.machine import commit
    from treeroll.chaos.kills import Death, Killer, drawn_lives
    from treeroll.chaos.ordeal import Outcome
    from treeroll.chaos.reckoning import COLUMNS, PLACES, TOKENS, places, recoveries, tokens
    from treeroll.cli.console import note, out
    from treeroll.cli.console import table as grid

    lives = drawn_lives(Random(f"kills-{seed}"), count)  # noqa: S311 - no secret
    deaths: list[Death] = []
    outcomes: list[Outcome] = []
    began = commit()
    async with _world(size, seed) as (world, ordeal):
        for start in range(0, count, KILLS):
            killer = Killer(world, ordeal, note)
            outcome = await killer.perform(lives[start : start + KILLS])
            outcomes.append(outcome)
            deaths += killer.deaths
            verdict = _verdict(outcome.findings, size.engine)
            note(f"{min(start + KILLS, count)} of {count} kills, {outcome.tasks} tasks: {verdict}")
            if outcome.findings:
                raise TreerollError(f"with --seed {seed}, in the run of {start}: {'; '.join(outcome.findings)}")
    console = out()
    console.print(grid("", PLACES, places(deaths)))
    console.print(grid("", COLUMNS, recoveries(deaths)))
    console.print(grid("", TOKENS, tokens(outcomes)))
    console.print(_where(seed, size, began), markup=False)


async def _measure(names: Sequence[str], size: "Size", seed: int, to: Path | None) -> None:
    """The rows of the table that these faults are in; a line each as it is known, and all of it at the end."""
    from treeroll.bench.machine import commit
    from treeroll.chaos.fault_lines import LINES
    from treeroll.chaos.measure import Measured
    from treeroll.chaos.table import COLUMNS, cells, keep, rows_with
    from treeroll.cli.console import note, out
    from treeroll.cli.console import table as grid

    lines, broken, began = [], [], commit()
    async with _world(size, seed) as (_, ordeal):
        for row in rows_with(names):
            outcome = await ordeal.perform(row.strikes())
            lines.append(cells(row, outcome))
            note(f"  {Measured.of(outcome, outcome.struck[-1]).text()}: {lines[-1][-1]}")
            broken += [f"{row.title}: {finding}" for finding in outcome.findings]
            if to is not None:
                keep(to, row, lines[-1], _where(seed, size, began))
    console = out()
    if not console.is_terminal:
        console.width = WIDE
    console.print(grid("", COLUMNS, lines))
    elsewhere = [[str(line.number), line.fault, line.elsewhere] for line in LINES if line.elsewhere]
    console.print(grid("", [">line", "fault", "what else covers it"], elsewhere))
    console.print(_where(seed, size, began), markup=False)
    if broken:
        raise TreerollError("; ".join(broken))


@asynccontextmanager
async def _world(size: "Size", seed: int) -> "AsyncIterator[tuple[World, Ordeal]]":
    """A world to run in. TreerollError if a process of it is left behind."""
    from treeroll.chaos.ordeal import Ordeal
    from treeroll.chaos.world import World
    from treeroll.cli.console import note

    note("starting Redis, a coordinator and replicas ...")
    world = World(size)
    async with world:
        yield world, Ordeal(world, seed, note)
    if world.left_behind:
        raise TreerollError(f"processes are left behind: {', '.join(world.left_behind)}")


def _where(seed: int, size: "Size", commit: str | None) -> str:
    """Where and of what figures are."""
    from treeroll.bench.machine import machine

    where = machine()
    return (
        f"{where['processor']}, {where['cores']} cores, load {where['load_average'][0]} at the end; commit {commit}; "
        f"seed {seed}, {size.durability}, {size.engine} engines. What else runs is in the times: they are upper bounds."
    )


def _verdict(findings: Sequence[str], engine: str = "simulated") -> str:
    tokens = "every token as undisturbed" if engine == "simulated" else "every token in one tree"
    return "; ".join(findings) or f"every task once, accounts exact, {tokens}"


if __name__ == "__main__":
    app()

"""`treeroll bench`: one command per benchmark, one file per command."""

import typer

from treeroll.cli.bench import (
    allocators,
    claims,
    coordinator,
    engine,
    feed,
    learning,
    packed,
    placement,
    policies,
    publish,
    readers,
    simulate,
    store,
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.callback()
def bench() -> None:
    """Measure speed on this machine, each figure beside a baseline in the same run.

    Variants take turns (A B C A B C) after a warm-up; the table shows median, spread and
    ratio. [bold]--json FILE[/bold] keeps every round with machine, versions and commit.
    Close other programs first: what else runs is in the figures.
    """


app.command("allocators")(allocators.allocators)
app.command("claims")(claims.claims)
app.command("coordinator")(coordinator.coordinator)
app.command("engine")(engine.engine)
app.command("learning")(learning.learning)
app.command("packed")(packed.packed)
app.command("placement")(placement.placement)
app.command("policies")(policies.policies)
app.command("feed")(feed.feed)
app.command("publish")(publish.publish)
app.command("readers")(readers.readers)
app.command("simulate")(simulate.simulate)
app.command("store")(store.store)

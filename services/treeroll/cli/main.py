"""`treeroll`: the commands, and the one place where errors become a sentence and an exit code.

Command modules import only typer at their top, so that `treeroll --help` does not wait for what it does not use.

Exit codes: 0 done, 1 a run or check failed, 2 bad input, 128 + its number when a signal ended it (130: Ctrl-C).
docs/operating.md has them for operators.
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from treeroll.cli import (
    audit,
    bench,
    certs,
    dashboard,
    delete,
    doctor,
    drain,
    fleet,
    health,
    inspect,
    policies,
    replica,
    rollout,
    serve,
    status,
    tasks,
    token,
    top,
)
from treeroll.errors import CallerError, TreerollError

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 128 + signal.SIGINT


class App(typer.Typer):
    """A typer application whose errors are one sentence on stderr."""

    def __call__(self, args: Sequence[str] | None = None, **extra: Any) -> NoReturn:
        """Run one command and exit. The entry point of the `treeroll` script."""
        sys.exit(self.run(list(sys.argv[1:] if args is None else args)))

    def run(self, args: list[str]) -> int:
        """Run one command; returns its exit code."""
        try:
            code = typer.main.get_command(self)(args, prog_name="treeroll", standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
        except TreerollError as error:
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            return _complain(f"{error}{notes}", _exit_code(error))
        except (KeyboardInterrupt, typer.Abort):
            return _complain("interrupted", INTERRUPTED)
        except ModuleNotFoundError as error:
            return _complain(_missing(error), BAD_INPUT)
        except BrokenPipeError:  # the reader of our output has gone, as in `treeroll inspect ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except OSError as error:
            place = f"{error.filename}: " if error.filename is not None else ""
            return _complain(f"{place}{error.strerror or error}", FAILED)
        except _USAGE_ERROR as error:
            return _complain(f"{_usage(error)} (see `treeroll {_command(args)}--help`)", BAD_INPUT)


# typer brings its own copy of click or uses the installed one, by version: the base class of what it raises itself.
_USAGE_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _usage(error: Any) -> str:
    return " ".join(str(error.format_message()).split()).rstrip(".")


def _missing(error: ModuleNotFoundError) -> str:
    """`pip install treeroll` alone is the client; a module of ours that is missing is a bug and stays one."""
    if error.name is None or error.name.partition(".")[0] == "treeroll":
        raise error
    return (
        f"the service is not installed here ('{error.name}' is missing): install the extras 'service' and 'cpu' or "
        "'gpu' of treeroll, or use a service elsewhere with --address"
    )


def _command(args: list[str]) -> str:
    return f"{args[0]} " if args and not args[0].startswith("-") else ""


def _exit_code(error: TreerollError) -> int:
    from treeroll.cli.interrupts import Interrupted, exit_code

    if isinstance(error, Interrupted):
        return exit_code(error.number)
    return BAD_INPUT if isinstance(error, CallerError) else FAILED


def _complain(sentence: str, code: int) -> int:
    from treeroll.cli.console import note

    note(f"error: {' '.join(sentence.split())}")
    return code


def _version(wanted: bool) -> None:
    if wanted:
        from treeroll import __version__

        print(f"treeroll {__version__}")
        raise typer.Exit


app = App(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def treeroll(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Grow [bold]trees[/bold] of LLM generations under a budget, for RL post-training.

    [bold]treeroll rollout tasks.jsonl --out runs/one[/bold] starts all it needs on this
    machine, grows one tree per task and writes samples.parquet, nodes.parquet
    and summary.json. [bold]treeroll inspect --from runs/one[/bold] then draws a tree.
    """


WORK, SERVICE, LOOK, SPEED = "Grow trees", "Run a service", "Look at results", "Measure"

app.command("rollout", rich_help_panel=WORK)(rollout.rollout)
app.add_typer(policies.app, name="policies", rich_help_panel=WORK)
app.add_typer(tasks.app, name="tasks", rich_help_panel=WORK)
app.command("serve", rich_help_panel=SERVICE)(serve.serve)
app.add_typer(fleet.app, name="fleet", rich_help_panel=SERVICE)
app.command("replica", rich_help_panel=SERVICE)(replica.replica)
app.command("status", rich_help_panel=SERVICE)(status.status)
app.command("health", rich_help_panel=SERVICE)(health.health)
app.command("doctor", rich_help_panel=SERVICE)(doctor.doctor)
app.command("top", rich_help_panel=SERVICE)(top.top)
app.command("drain", rich_help_panel=SERVICE)(drain.drain)
app.command("undrain", rich_help_panel=SERVICE)(drain.undrain)
app.command("delete", rich_help_panel=SERVICE)(delete.delete)
app.add_typer(token.app, name="token", rich_help_panel=SERVICE)
app.command("certs", rich_help_panel=SERVICE)(certs.certs)
app.command("dashboard", rich_help_panel=LOOK)(dashboard.dashboard)
app.command("inspect", rich_help_panel=LOOK)(inspect.inspect)
app.command("audit", rich_help_panel=LOOK)(audit.audit)
app.add_typer(bench.app, name="bench", rich_help_panel=SPEED)

if __name__ == "__main__":
    app()

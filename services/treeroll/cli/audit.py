"""`treeroll audit`: check the promises on a live service, or the record in a result directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from treeroll.cli.options import Address, AsJson, FromDir

# Broken promises that are listed; all are counted.
LISTED = 50


@dataclass(frozen=True, slots=True)
class Findings:
    """What was looked at, and what was found: (invariant, one sentence)."""

    looked_at: str
    violations: Sequence[tuple[str, str]]


def audit(address: Address = None, directory: FromDir = None, as_json: AsJson = False) -> None:
    """Check that every promise was kept; exit code 1 if not, naming each broken one.

    A service is asked to check its store: accounts, caps of budgets, trees,
    rewards, events.
    In a directory the rows are checked: paths concatenate to the recorded
    tokens, parents exist, nothing is doubled, accounts add up.

    [bold]Examples[/bold]

      treeroll audit --address 127.0.0.1:7070

      treeroll audit --from runs/one
    """
    from treeroll.errors import InvalidInput

    if address is not None and directory is None:
        findings = _of_service(address)
    elif directory is not None and address is None:
        from treeroll.results.audit import audit_directory

        findings = Findings(*audit_directory(directory))
    else:
        raise InvalidInput("give either --address of a service or --from a result directory")
    _show(findings, as_json)
    if findings.violations:
        raise typer.Exit(1)


def _of_service(address: str) -> Findings:
    from treeroll.cli.reach import reach

    with reach(address) as client:
        report = client.audit()
    looked_at = f"{report.runs} runs, {report.trees} trees, {report.nodes} nodes"
    if report.expired_trees:
        looked_at += f" ({report.expired_trees} trees had expired)"
    return Findings(looked_at, [(violation.invariant, violation.detail) for violation in report.violations])


def _show(findings: Findings, as_json: bool) -> None:
    import json

    from treeroll.cli.console import out, table

    if as_json:
        found: list[dict[str, Any]] = [{"invariant": name, "detail": detail} for name, detail in findings.violations]
        print(json.dumps({"looked_at": findings.looked_at, "violations": found}, indent=2))
        return
    count = len(findings.violations)
    print(f"audit: {findings.looked_at}: {f'BROKEN {count} times' if count else 'no broken promise found'}")
    if count:
        out().print(table("", ("promise", "what"), findings.violations[:LISTED]))
    if count > LISTED:
        print(f"and {count - LISTED} more (--json lists all)")

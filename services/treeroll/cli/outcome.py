"""The end of a rollout: merged files, summary.json, a table, an exit code."""

import platform
import signal
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from treeroll.cli.console import counted, number, out, table
from treeroll.cli.interrupts import exit_code, signal_name
from treeroll.cli.preflight import Plan, most_calls, resolution
from treeroll.cli.progress import Display, budget_line
from treeroll.errors import TreerollError
from treeroll.results.directory import write_json
from treeroll.results.merge import merge
from treeroll.results.record import RunRecord
from treeroll.results.session import Sessions
from treeroll.results.summary import Facts, summarize

# Tasks that a note names; summary.json has all.
NAMED_TASKS = 10

# What else is worth knowing of the software on this machine when it ran the service.
PACKAGES = ("torch", "ray", "redis", "pyarrow", "numpy")

# Summary keys of the table at the end, with the digits that people need.
_ROWS = {
    "trees": ("trees", 0),
    "samples": ("samples", 0),
    "generated_tokens": ("tokens generated", 0),
    "delivered_tokens": ("tokens in samples, each counted", 0),
    "sharing_ratio": ("sharing ratio", 3),
    "wasted_tokens": ("tokens wasted", 0),
    "forks": ("forks", 0),
    "mean_reward": ("mean reward of leaves", 4),
    "mean_reward_unbiased": ("mean reward, unbiased", 4),
    "distinct_sample_fraction": ("different completions per sample", 3),
    "effective_tree_fraction": ("trees with better and worse leaves", 3),
    "reward_errors": ("leaves without reward: scorer failed", 0),
    "failed_tasks": ("tasks without a sample", 0),
    "wall_s": ("seconds", 1),
    "setup_s": ("seconds to start", 1),
    "samples_per_s": ("samples/s", 1),
    "tokens_per_s": ("tokens/s", 0),
}
_HIDDEN_WHEN_ZERO = frozenset({"reward_errors", "failed_tasks", "wasted_tokens", "forks"})


def finish(
    plan: Plan, record: RunRecord, sessions: Sessions, failures: Mapping[str, str], *, complete: bool
) -> dict[str, Any]:
    """Merge, write summary.json and remove the parts. Cut short anywhere, it can be done again."""
    directory = plan.directory
    tally = merge(directory, sessions)
    known = resolution(plan.run)
    facts = Facts(
        run=record.run,
        policies=known.settings() if known else {},
        model=record.model,
        engine=record.engine,
        tasks=plan.tasks.count,
        complete=complete,
        most_calls=most_calls(known) if known else None,
        failures=list(failures.items()),
    )
    summary = summarize(tally, sessions, facts)
    write_json(directory.summary, summary)
    directory.clear_parts()
    return summary


def software(status: Any, *, local: bool) -> dict[str, str]:
    """Versions, by name, of what made the rows. `status` is the service's."""
    found = {"treeroll": status.version, "python": platform.python_version()}
    if status.engine is not None:
        found[status.engine.engine] = status.engine.engine_version
    if local:
        for package in PACKAGES:
            try:
                found.setdefault(package, metadata.version(package))
            except metadata.PackageNotFoundError:
                continue
    return found


def _basis(summary: Mapping[str, Any], key: str) -> str:
    """Over how many tasks a mean is, unless it is over all: others had no budget left, or failed."""
    tasks = summary.get(f"{key}_tasks", summary["tasks"])
    return f", {tasks:,} of {counted(summary['tasks'], 'task')}" if tasks < summary["tasks"] else ""


def _listing(plan: Plan) -> str:
    return f"treeroll inspect --list --from {plan.directory.path}"


def report(plan: Plan, summary: Mapping[str, Any], display: Display, stopped_by: signal.Signals | None) -> int:
    """Show what came out; returns the exit code. TreerollError if nothing did."""
    rows = [
        (label, number(summary[key] if digits else summary[key] and round(summary[key]), digits) + _basis(summary, key))
        for key, (label, digits) in _ROWS.items()
        if summary[key] is not None and not (key in _HIDDEN_WHEN_ZERO and not summary[key])
    ]
    out().print(table(f"{plan.directory.path}: {summary['recipe']}", ("", ">"), rows))
    missing = summary["tasks"] - summary["trees"] + summary["partial_trees"]
    if stopped_by is not None:
        left = f"{missing} of {summary['tasks']} tasks are not complete"
        display.say(f"stopped by {signal_name(stopped_by)}: {left}; --resume goes on")
        return exit_code(stopped_by)
    if not summary["samples"]:
        first = next(iter(summary["failures"]), {"error": summary["stop_detail"] or "no reason was given"})
        raise TreerollError(f"no task gave a sample; the first failure: {first['error']}")
    if summary["budget"]:
        caps = [(resource, use["spent"], use["limit"]) for resource, use in summary["budget"].items()]
        display.say(f"budget: {budget_line(caps)}")
    if summary["stop_reason"] in ("budget", "deadline"):
        display.say(f"note: {summary['stop_detail']}")
    if summary["engine_errors"]:
        display.say(f"note: {summary['engine_errors']} requests failed, the last because {summary['engine_error']}")
    if summary["policy_errors"]:
        display.say(f"note: policies failed {summary['policy_errors']} times, the last: {summary['policy_error']}")
    for why in summary["decisions_missing"]:
        display.say(f"note: decisions are missing in events.parquet: {why}")
    if quarantined := summary["quarantined"]:
        named = ", ".join(quarantined[:NAMED_TASKS])
        display.say(f"note: replicas died of {len(quarantined)} tasks, which were quarantined: {named}")
    if summary["failed_tasks"]:
        display.say(f"note: {summary['failed_tasks']} tasks ended without a sample; {_listing(plan)} says why")
    if summary["partial_trees"]:
        display.say(
            f"note: {summary['partial_trees']} trees were cut before they were complete; {_listing(plan)} says why"
        )
    if summary["mean_reward"] is not None and summary["mean_reward_tasks"] < summary["tasks"]:
        display.say(
            f"note: rewards are of {summary['mean_reward_tasks']:,} of {counted(summary['tasks'], 'task')}, those that "
            "got their share; to compare with another run, give every task as much with run.budget.task_tokens"
        )
    display.say(f"look at a tree: treeroll inspect --from {plan.directory.path}")
    return 0

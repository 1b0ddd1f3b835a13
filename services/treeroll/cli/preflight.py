"""Preflight: everything that can be found wrong is found before anything is started or written."""

import os
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from treeroll.cli.console import note
from treeroll.cli.settings import SERVICE_SECTIONS, Settings
from treeroll.cli.taskfile import PromptCheck, ScorerNeeds, TaskFile, prompt_check
from treeroll.config import RunConfig, parse
from treeroll.errors import InvalidInput
from treeroll.policy.base import BranchPolicy
from treeroll.policy.width import LeafCount, without_all_leaves
from treeroll.results.directory import Mode, ResultDir
from treeroll.rows.files import OneOrMore
from treeroll.tasks import Fields

if TYPE_CHECKING:
    from treeroll.policies.resolve import Resolution
    from treeroll.service import ServiceConfig


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for."""

    tasks: OneOrMore
    out: Path
    mode: Mode
    address: str | None
    limit: int | None
    skip_invalid: bool
    settings: Settings
    service_flags: tuple[str, ...]
    """Flags given that configure a service of our own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that can work. `service` is None when the service runs elsewhere."""

    run: RunConfig
    tasks: TaskFile
    directory: ResultDir
    mode: Mode
    address: str | None
    service: "ServiceConfig | None"
    tokenizer_hash: str | None
    """A hash of the tokenizer and the chat template of that service."""


def make_plan(request: Request) -> Plan:
    """Check a request. InvalidInput says in one sentence what is wrong, where, and what to do."""
    directory = ResultDir(request.out)
    directory.check(request.mode)
    if request.address is None:
        service, tokenizer_hash, check_prompt = _local(request.settings)
        needs = [ScorerNeeds(name) for name in (request.settings.run.scorer, request.settings.run.judge) if name]
    else:
        service, tokenizer_hash, check_prompt = None, None, None
        needs = []  # the service says what its scorers can make nothing of
        _check_remote(request)
    tasks = TaskFile.check(
        request.tasks,
        limit=request.limit,
        skip_invalid=request.skip_invalid,
        check_prompt=check_prompt,
        on_skip=lambda error: note(f"skipped: {error}"),
        fields=Fields(**request.settings.tasks.model_dump()),
        on_note=lambda sentence: note(f"note: {sentence}"),
        needs=needs,
    )
    return Plan(request.settings.run, tasks, directory, request.mode, request.address, service, tokenizer_hash)


def _local(settings: Settings) -> "tuple[ServiceConfig, str, PromptCheck]":
    """Check what a service of our own will be given; returns it with the hash of its tokenizer and chat template."""
    from treeroll import clock
    from treeroll.coordinator.budgets import check_deadline
    from treeroll.coordinator.prompts import ChatSettings, with_chat_date
    from treeroll.coordinator.specs import check_inserts, run_spec
    from treeroll.generator.fleet import endless, fleet_tokenizer
    from treeroll.scorers import registry
    from treeroll.service import ServiceConfig

    sections = {**settings.service}
    # One seed for the whole rollout: policies, and engines that sample from a seed of their own.
    sections["generator"] = {"seed": settings.run.seed, **sections.get("generator", {})}
    watched = 0 if sys.stderr.isatty() else "off"
    sections["dashboard"] = {"port": watched, **sections.get("dashboard", {})}
    service = parse(ServiceConfig, sections, "service configuration")
    tokenizer, pools = fleet_tokenizer(service.generator), tuple(service.generator.fleet())
    run = settings.run
    if not (run.ignore_eos or run.stop or run.stop_token_ids):
        for sentence in filter(None, map(endless, service.generator.fleet().values())):
            note(f"note: {sentence}")
    # As in the service we start: `--scorer python:module:function` means a module of the working directory, too.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    spec = run_spec("preflight", settings.run, tokenizer.vocab_size, pools=pools)
    for scorer in (spec.scorer, spec.judge):
        if scorer not in (None, registry.CLIENT):
            registry.build(scorer)  # imports what is foreign, which the service leaves to its workers
    check_inserts(spec, tokenizer)
    if told := fewer_leaves(settings.run, spec.branch):
        note(f"note: {told}")
    check_deadline(settings.run, clock.wall())
    dated = with_chat_date(settings.run, tokenizer.chat, date.fromtimestamp(clock.wall()))
    return service, tokenizer.prompt_hash, prompt_check(tokenizer, ChatSettings.of(dated.model_dump_json()))


def _check_remote(request: Request) -> None:
    """Nothing that was asked for may be without effect and without a word."""
    if request.service_flags:
        names = " and ".join(request.service_flags)
        raise InvalidInput(f"{names} would configure a service started here; with --address the service has its own")
    sections = [name for name in SERVICE_SECTIONS if name in request.settings.service]
    if sections:
        names = " and ".join(sections)
        note(f"note: settings of {names} are for a service started here and have no effect with --address")


def fewer_leaves(run: RunConfig, branch: BranchPolicy) -> str | None:
    """A sentence if growth makes fewer leaves than the run asks for, and by which rule; None where it makes as many."""
    count: LeafCount | None = getattr(branch, "leaf_count", None)
    if run.leaves is None or count is None:
        return None
    return without_all_leaves(getattr(branch, "name", run.recipe), count, run.leaves)


def resolution(run: RunConfig) -> "Resolution | None":
    """The policies of a run; None for a recipe or policies that only the service knows."""
    from treeroll.coordinator.specs import resolved

    try:
        return resolved(run)
    except InvalidInput:
        return None


def most_calls(resolution: "Resolution") -> int | None:
    """Calls of a tool that a path of the run may make; None without a tool."""
    segment = resolution.policies.segment
    # In its last segment a path's calls are not answered.
    return None if segment.tool is None else len(segment.boundaries(1, 1, 1 + resolution.limits.max_tokens)) - 1

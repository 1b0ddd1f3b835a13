"""Sampling without treeroll, straight on an engine: independent samples, and trees in the ways of published code."""

import asyncio
from collections.abc import Iterable, Sequence

from treeroll.bench.meter import Meter
from treeroll.bench.prompts import Workload
from treeroll.bench.raw_engine import Completion, RawEngine
from treeroll.bench.raw_tree import Piece, RawTree
from treeroll.policies.policies import Policies
from treeroll.policies.resolve import build_policies
from treeroll.tasks import Task

# The fixed workload tests nothing that would end a path early.
NO_TESTS = {"boxed": "off", "repetition": "off"}


async def flat(engine: RawEngine, workload: Workload, tasks: Sequence[Task]) -> Meter:
    """All samples of all prompts at once, those of one prompt next to each other."""
    meter = Meter()
    stop_ids = _stop_ids(workload)

    async def sample(task: Task) -> None:
        prompt = list(task.prompt_ids or ())
        done = await engine.complete(prompt, workload.limits.max_tokens, stop_ids)
        meter.request(task.id, len(prompt), done.cached_tokens, at_prompt=True)
        meter.generated += len(done.token_ids)
        meter.sampled(len(done.token_ids))

    await asyncio.gather(*(sample(task) for task in tasks for _ in range(workload.limits.leaves)))
    return meter


async def lockstep(engine: RawEngine, workload: Workload, tasks: Sequence[Task], *, aligned: bool) -> Meter:
    """All trees advance by one segment, wait for the slowest, decide, and submit again (TreePO's release)."""
    meter = Meter()
    pieces = [piece for tree in _trees(workload, tasks, aligned, meter) for piece in tree.start()]
    while pieces:
        done = await asyncio.gather(*(_complete(engine, workload, piece) for piece in pieces))
        added = [onward for piece, found in zip(pieces, done, strict=True) for onward in piece.tree.add(piece, found)]
        pieces = sorted(added, key=lambda piece: piece.tree.tree_id)
    return meter


async def segments(engine: RawEngine, workload: Workload, tasks: Sequence[Task], *, aligned: bool) -> Meter:
    """No barrier: whatever is decided is submitted at once. Still one request per segment."""
    meter = Meter()
    async with asyncio.TaskGroup() as group:

        async def grow(piece: Piece) -> None:
            done = await _complete(engine, workload, piece)
            submit(piece.tree.add(piece, done))

        def submit(pieces: Iterable[Piece]) -> None:
            for piece in pieces:
                group.create_task(grow(piece))

        for tree in _trees(workload, tasks, aligned, meter):
            submit(tree.start())
    return meter


async def _complete(engine: RawEngine, workload: Workload, piece: Piece) -> Completion:
    return await engine.complete(piece.prefix, piece.tokens, _stop_ids(workload))


def _stop_ids(workload: Workload) -> Sequence[int]:
    return workload.tokenizer.eos_token_ids if workload.kind == "tasks" else ()


def _trees(workload: Workload, tasks: Sequence[Task], aligned: bool, meter: Meter) -> list[RawTree]:
    """Trees by the policies that `treeroll rollout --recipe treepo` has."""
    policies = tree_policies(workload, aligned=aligned)
    tokenizer = workload.tokenizer if workload.kind == "tasks" else None
    trees = []
    for task in tasks:
        prompt = list(task.prompt_ids or ())
        ends = policies.segment.boundaries(len(prompt), workload.block_size, workload.tokenizer.max_model_len)
        trees.append(RawTree(task.id, prompt, policies, ends, meter, tokenizer))
    return trees


def tree_policies(workload: Workload, *, aligned: bool) -> Policies:
    """The treepo recipe for this workload."""
    overrides: dict[str, dict[str, object]] = {"segment": {"aligned": aligned}}
    if workload.kind == "fixed":
        overrides["prune"] = dict(NO_TESTS)
    return build_policies("treepo", workload.limits, overrides)

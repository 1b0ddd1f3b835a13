"""Tasks that their run's scorers can make nothing of: found when they are submitted, not leaf by leaf."""

import asyncio
import json
import logging
from collections.abc import Sequence

from treeroll.coordinator.records import CLIENT_SCORER
from treeroll.core.model.run import RunSpec, TaskSpec
from treeroll.errors import InvalidInput
from treeroll.scorers.base import ErrorKind, ScoreItem, ScoreRequest, ScoringService
from treeroll.scorers.fitness import ReadsTasks, Unfit, why_unfit
from treeroll.scorers.registry import CHECK, PYTHON, task_checker
from treeroll.scorers.spec import ScorerSpec

log = logging.getLogger(__name__)

# Longest wait for a worker to read the answers of one call's tasks, in seconds; what it has not read by then is found
# out leaf by leaf.
READ_S = 12.0
# And for one to load the scorers of a run that is created.
LOAD_S = 20.0


async def unfit_tasks(scorers: ScoringService | None, spec: RunSpec, tasks: Sequence[TaskSpec]) -> list[Unfit]:
    """What each of the run's scorers says of the tasks; those that can use all of them are left out.

    `scorers` reads what only a worker should; None: a glance must do.
    """
    names = dict.fromkeys(name for name in (spec.scorer, spec.judge) if name not in (None, CLIENT_SCORER))
    items = {task.task_id: ScoreItem("", "", task.answer, json.loads(task.extra_json)) for task in tasks}
    found = [await _unfit(scorers, name, items) for name in names if name]
    return [unfit for unfit in found if unfit.reasons]


async def check_loads(scorers: ScoringService | None, spec: RunSpec) -> None:
    """InvalidInput for a scorer of the run that a worker cannot load; only there is anything foreign imported."""
    asked = (name for name in (spec.scorer, spec.judge) if name and ScorerSpec.parse(name).name == PYTHON)
    names = dict.fromkeys(asked)
    requests = [ScoreRequest(name, f"{CHECK}:{name}", ScoreItem("", "")) for name in names]
    if scorers is None or not requests:
        return
    try:
        async with asyncio.timeout(LOAD_S):
            results = await scorers.score(requests, LOAD_S, first=True)
    except TimeoutError:
        log.warning("whether %s can be loaded was not found out within %g s: scorers are busy", [*names], LOAD_S)
        return
    for result in results:
        if result.kind is ErrorKind.UNLOADABLE:
            raise InvalidInput(result.error)


async def _unfit(scorers: ScoringService | None, name: str, items: dict[str, ScoreItem]) -> Unfit:
    unfit = Unfit(name, len(items))
    scorer = await asyncio.to_thread(task_checker, name)
    if scorer is None:
        return unfit
    for task_id, item in items.items():
        if (why := why_unfit(scorer, item)) is not None:
            unfit.reasons[task_id] = why
    if scorers is not None and isinstance(scorer, ReadsTasks):
        unread = [ScoreRequest(task_id, f"{CHECK}:{name}", item) for task_id, item in items.items()]
        await _read(scorers, [request for request in unread if request.key not in unfit.reasons], unfit)
    return unfit


async def _read(scorers: ScoringService, requests: Sequence[ScoreRequest], unfit: Unfit) -> None:
    try:
        async with asyncio.timeout(READ_S):
            results = await scorers.score(requests, READ_S, first=True)
    except TimeoutError:
        log.warning("the answers of %d tasks were not read within %g s: scorers are busy", len(requests), READ_S)
        return
    for request, result in zip(requests, results, strict=True):
        if result.value is None:
            unfit.reasons[str(request.key)] = result.error

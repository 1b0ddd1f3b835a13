"""Why a replica's life ended, as a sentence, and whether another would end the same way."""

import asyncio
import re
from dataclasses import dataclass, field

import ray

from treeroll.generator.actor import BadStart, StartFailed, TakenOver
from treeroll.generator.last_words import cause_in
from treeroll.pb.v1 import fleet_pb2 as wire

_EXIT_DETAIL = re.compile(r"exit detail: ([^.]*)")


@dataclass(slots=True)
class Cause:
    """Why a life ended."""

    sentence: str
    lasting: bool = False
    """Whether a first start that failed of it would fail again."""
    bad_input: bool = False
    """Whether it is for a person to mend: settings, versions, models."""
    preempted: bool = False
    """Its node was taken away."""
    taken_over: bool = False
    """It lives, for another fleet."""
    log_end: list[str] = field(default_factory=list)

    @property
    def end(self) -> wire.ProcessEnd:
        """The same for the coordinator."""
        return wire.PROCESS_END_PREEMPTED if self.preempted else wire.PROCESS_END_UNSPECIFIED

    def __str__(self) -> str:
        """The sentence, with what the process itself said."""
        told = cause_in(self.log_end, self.sentence)
        return f"{self.sentence}; its log says: {told}" if told else self.sentence


def cause_of_end(serving: "asyncio.Future[None]") -> Cause | None:
    """Why serve() ended; None if it returned."""
    error = serving.exception()
    return None if error is None else as_cause(error)


def as_cause(error: BaseException) -> Cause:
    """What Ray reported of a call."""
    raised = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    lasting = isinstance(raised, StartFailed | ray.exceptions.OutOfMemoryError)
    return Cause(
        _sentence(error), lasting, isinstance(raised, BadStart), _preempted(error), isinstance(raised, TakenOver)
    )


def _preempted(error: BaseException) -> bool:
    return isinstance(error, ray.exceptions.ActorDiedError) and bool(error.preempted)


def _sentence(error: BaseException) -> str:
    """What went wrong in an actor, without Ray's traceback."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return " ".join(str(error.cause).split())
    if isinstance(error, ray.exceptions.ActorDiedError | ray.exceptions.ActorUnavailableError):
        if _preempted(error):
            return "its node was taken away"
        detail = _EXIT_DETAIL.search(str(error))
        return f"its process died{f' ({detail[1]})' if detail else ''}"
    return " ".join(str(error).split())

"""Every scorer, by name. The only place that knows them all."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial

from treeroll.errors import InvalidInput
from treeroll.scorers.arith import ArithScorer
from treeroll.scorers.base import LoadsLibrary, Scorer
from treeroll.scorers.call import CallScorer, parts_of
from treeroll.scorers.exact import ExactScorer
from treeroll.scorers.fitness import ChecksTasks, TaskCheck
from treeroll.scorers.guard import describe
from treeroll.scorers.http import HttpScorer
from treeroll.scorers.math import MathScorer
from treeroll.scorers.reasoning_gym import ReasoningGymScorer
from treeroll.scorers.regex import RegexScorer
from treeroll.scorers.rules import ANYTHING, ScorerRules
from treeroll.scorers.spec import ScorerSpec
from treeroll.scorers.subset import SubsetScorer
from treeroll.scorers.verifiers import VerifiersScorer, module_of

CLIENT = "client"  # no scorer of ours: the client reports the rewards
CHECK = "check"  # `check:SCORER` checks tasks, or just that it loads, in a worker; nobody may name it for a run
PYTHON = "python"

FOREIGN: dict[str, Callable[[str], str]] = {
    PYTHON: lambda argument: argument.partition(":")[0],
    "verifiers": module_of,
}
"""Scorers whose argument names a module to import: which."""


@dataclass(frozen=True, slots=True)
class ScorerKind:
    """One row of the registry."""

    usage: str  # how a run writes it
    summary: str  # one line, for people
    build: Callable[[str], Scorer]  # from the argument; InvalidInput if it cannot be
    takes_argument: bool = False


def _http(scheme: str, rest: str) -> Scorer:
    return HttpScorer(f"{scheme}:{rest}")


KINDS: dict[str, ScorerKind] = {
    "math": ScorerKind(
        "math",
        "1 if math-verify finds the completion's answer equal to the task's, else 0; math:boxed: in \\boxed{...} only",
        MathScorer,
        takes_argument=True,
    ),
    "exact": ScorerKind(
        "exact", "1 if the completion, or its last \\boxed{...}, is the task's answer, else 0", lambda _: ExactScorer()
    ),
    "regex": ScorerKind(
        "regex[:PATTERN]",
        "1 if the pattern, or else the task's own field 'pattern', is found in the completion, else 0",
        RegexScorer,
        takes_argument=True,
    ),
    "arith": ScorerKind(
        "arith", "1 if the last \\boxed{N} is exactly the task's integer answer, else 0", lambda _: ArithScorer()
    ),
    "reasoning_gym": ScorerKind(
        "reasoning_gym",
        "the score of an item of reasoning-gym (`treeroll tasks from reasoning_gym:NAME`) by its own data set",
        lambda _: ReasoningGymScorer(),
    ),
    "verifiers": ScorerKind(
        "verifiers:TASKSET",
        "the reward of a task of verifiers (`treeroll tasks from verifiers:TASKSET`) by its own taskset",
        VerifiersScorer,
        takes_argument=True,
    ),
    "subset": ScorerKind(
        "subset",
        "1 if the last \\boxed{...} lists numbers of the task whose sum is in its range, else 0",
        lambda _: SubsetScorer(),
    ),
    PYTHON: ScorerKind(
        "python:MODULE:FUNCTION",
        "the number FUNCTION(prompt, completion, answer, extra) returns",
        CallScorer,
        takes_argument=True,
    ),
    **{
        scheme: ScorerKind(
            "http[s]://HOST/PATH",
            "the number a server answers a POST of prompt, completion, answer and extra with, as JSON",
            partial(_http, scheme),
            takes_argument=True,
        )
        for scheme in ("http", "https")
    },
}


def build(text: str) -> Scorer:
    """The scorer a run names. InvalidInput says in one sentence what is wrong and what exists."""
    spec = ScorerSpec.parse(text)
    if spec.name == CHECK and ScorerSpec.parse(spec.argument).name != CHECK:
        return TaskCheck(build(spec.argument), text)
    kind = KINDS.get(spec.name)
    if kind is None:
        raise InvalidInput(f"unknown scorer '{text[:200]}'{_hint(spec.name)}; choose one of {_usages()}")
    if spec.argument and not kind.takes_argument:
        raise InvalidInput(f"scorer '{spec.name}' takes no argument, got '{spec.argument[:200]}'")
    return kind.build(spec.argument)


def load(text: str) -> Scorer:
    """`build`, with the library that the scorer needs imported. InvalidInput if that fails, too."""
    scorer = build(text)
    if isinstance(scorer, LoadsLibrary):
        try:
            scorer.load()
        except InvalidInput:
            raise
        except (Exception, SystemExit) as error:  # foreign code: its import may raise anything
            raise InvalidInput(f"scorer '{text[:200]}' does not load here: {describe(error)}") from None
    return scorer


def check(text: str, rules: ScorerRules = ANYTHING) -> None:
    """InvalidInput for a scorer that a run cannot have, or not under these rules. Nothing foreign is imported.

    What a module has is for a worker to find out: `check:SCORER`, scored there, is `unloadable` with the reason.
    """
    if text == CLIENT:
        return
    spec = ScorerSpec.parse(text)
    if spec.name == CHECK:
        raise InvalidInput(f"unknown scorer '{text[:200]}'; choose one of {_usages()}")
    if spec.name in FOREIGN:
        attribute = spec.argument.partition(":")[2] if spec.name == PYTHON else ""
        rules.check_module(text, FOREIGN[spec.name](spec.argument), attribute)
    if spec.name in ("http", "https"):
        rules.check_origin(text)
    if spec.name == PYTHON:
        parts_of(spec.argument)
    else:
        build(text)


def task_checker(text: str) -> ChecksTasks | None:
    """The scorer, if it needs something of a task; foreign code is not loaded. InvalidInput as `build`."""
    if ScorerSpec.parse(text).name in (CLIENT, PYTHON):
        return None
    scorer = build(text)
    return scorer if isinstance(scorer, ChecksTasks) else None


def summaries() -> dict[str, str]:
    """Usage and one-line summary of everything a run may write, for the CLI."""
    rows = {kind.usage: kind.summary for kind in KINDS.values()}
    return rows | {CLIENT: "no scorer: the client reports rewards for the leaves it got"}


def _hint(name: str) -> str:
    close = get_close_matches(name, KINDS, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _usages() -> str:
    return ", ".join(summaries())

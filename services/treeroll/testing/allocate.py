"""Budget allocators: how many leaves each task gets."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final

from treeroll.policy.allocate import BudgetView, Explains, Outcome, TaskView
from treeroll.policy.base import Limits
from treeroll.testing.case import LIMITS, Case
from treeroll.testing.memories import check_lasting, restored
from treeroll.testing.tasks import HISTORIES, OUTCOMES, SECONDS, TEXTS, TOKENS
from treeroll.tree.rng import randint, shuffled, uniform

SEED: Final = 11
NEEDS: Final = ((), ("tokens",), ("seconds",), ("tokens", "seconds"))
SIZES: Final = {"submission": (0, 1, 2, 7, 60), "start": (1, 1, 1, 2, 0)}


def check_allocator(policy: Any, params: Mapping[str, object] | None = None, limits: Limits = LIMITS) -> None:
    """Try a budget allocator class.

    Checked: its shape; every task gets a whole number of leaves from `least` to `most`, whatever is left, whatever is
    known of it and whatever trees came to; asked at submission, `leaves` of the run on average, whatever the order of
    the tasks; a task of which nothing is known gets as many as all others do; answers depend on the seed and on what
    the run's memory was asked and told only, and not on other runs; a memory that tells its `changes` answers the same
    if it is another, restored one each time.

    Raises:
        NotConformant: a promise is broken.
    """
    case = Case.of("allocate", policy, params, limits)
    used = case.build()
    _check_shape(case, used)
    _check_unknown(case, used)
    answers = list(_answers(case, used, used.open(SEED)))
    case.require(list(_answers(case, used, used.open(SEED))) == answers, "Pure", "remembers another run")
    fresh = case.build()
    case.require(list(_answers(case, fresh, fresh.open(SEED))) == answers, "Pure", "answers otherwise the second time")
    if check_lasting(case, used.open(SEED)):
        again = list(_answers(case, used, used.open(SEED), again=True))
        case.require(again == answers, "Lasts", "answers otherwise once it is restored from its changes")
    if used.asked == "submission":
        turned = list(_answers(case, used, used.open(SEED), turned=True))
        case.require(turned == answers, "Order", "gives a task leaves by its place in the submission")


def _check_shape(case: Case, used: Any) -> None:
    case.require(used.asked in SIZES, "Shape", f"is asked at {used.asked!r}; it must be one of {', '.join(SIZES)}")
    case.require(used.needs in NEEDS, "Shape", f"needs {used.needs!r}; it must be one of {NEEDS}")
    whole = isinstance(used.least, int) and isinstance(used.most, int)
    case.require(whole and 1 <= used.least <= used.most, "Shape", f"gives {used.least!r} to {used.most!r} leaves")
    number = used.success is None or isinstance(used.success, float)
    case.require(number, "Shape", f"has success {used.success!r}; it must be a reward or None")


def _check_unknown(case: Case, used: Any) -> None:
    usual = min(max(used.least, case.limits.leaves), used.most)
    tasks = [_task(0, place, (0.0, 0.0)) for place in range(5)]
    for asked in (tasks, *([task] for task in tasks)):
        given = _asked(case, used, used.open(SEED), asked, BudgetView(10**6, 600.0, 50.0, 100, 8))
        case.require(given == [usual] * len(asked), "Unknown", f"gives {given} to tasks of which nothing is known")


def _answers(case: Case, used: Any, memory: Any, turned: bool = False, again: bool = False) -> Iterator[dict[str, int]]:
    """What a run gives to its tasks, by id, while their trees end. `turned`: tasks are named in another order; `again`:
    another memory goes on each time."""
    parts: dict[str, Any] = {}
    for turn, (size, tokens, seconds) in enumerate(product(SIZES[used.asked], TOKENS, SECONDS)):
        tasks = [_task(turn, place, HISTORIES[_draw(len(HISTORIES), turn, place)]) for place in range(size)]
        if turned:
            tasks = shuffled(tasks, SEED, "turned", turn)
        price = (1.0, 40.0, 1e9)[_draw(3, turn, "price")]
        left = size + _draw(200, turn, "left")
        given = _asked(
            case, used, memory, tasks, BudgetView(tokens, seconds, price, left, _draw(64, turn, "slots") + 1)
        )
        yield dict(zip((task.task_id for task in tasks), given, strict=True))
        for task in sorted(tasks, key=lambda task: task.task_id):
            memory.learn(task, _outcome(task))
        if again:
            memory = restored(case, memory, used.open(SEED), parts)


def _asked(case: Case, used: Any, memory: Any, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
    shown = list(tasks)
    try:
        given: list[int] = memory.allocate(shown, budget)
    except Exception as error:  # whatever an allocator may raise
        raise case.broken("Answer", f"fails with {budget}: {type(error).__name__}: {error}") from error
    case.require(shown == list(tasks), "ReadsOnly", "changes the list of tasks it is shown")
    case.require(isinstance(given, list) and len(given) == len(tasks), "Answer", f"gives {given} to {len(tasks)} tasks")
    for task, leaves in zip(tasks, given, strict=True):
        fits = type(leaves) is int and used.least <= leaves <= used.most
        known = f"{task.successes:g} of {task.scored:g}"
        case.require(fits, "Bounds", f"gives {leaves!r} leaves to a task of {known}, with {budget}")
        why = memory.explain(task, budget, leaves) if isinstance(memory, Explains) else None
        case.check_why(why, f"gives {leaves} leaves to a task of {known}")
    if used.asked == "submission":
        total = case.limits.leaves * len(tasks)
        case.require(sum(given) == total, "Total", f"gives {sum(given)} leaves to {len(tasks)} tasks, not {total}")
    return given


def _task(turn: int, place: int, history: tuple[float, float]) -> TaskView:
    text = TEXTS[place] if place < len(TEXTS) else f"{turn} + {place * 37 % 101} ="
    # Names in no order that a policy could take for that of the submission.
    return TaskView(f"{_draw(10**6, turn, place, 'name')}-{place}", text, len(text), *history)


def _outcome(task: TaskView) -> Outcome:
    if uniform(SEED, task.task_id, "odd") < 0.3:
        return OUTCOMES[_draw(len(OUTCOMES), task.task_id)]
    scored = _draw(16, task.task_id, "scored") + 1
    return Outcome(_draw(scored + 1, task.task_id, "successes"), scored, 40 * scored, 0.5 * scored)


def _draw(many: int, *key: int | str) -> int:
    return randint(0, many - 1, SEED, *key)

"""Routes: which of several models grows each task's tree."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final

from treeroll.policy.allocate import BudgetView, TaskView
from treeroll.policy.base import Limits
from treeroll.policy.route import ModelView
from treeroll.testing.case import LIMITS, Case
from treeroll.testing.memories import check_lasting, restored
from treeroll.testing.tasks import HISTORIES, OUTCOMES, SECONDS, TEXTS, TOKENS
from treeroll.tree.rng import randint, uniform

SEED: Final = 11
# What a tree of a model is expected to take: next to nothing, some, more than most budgets.
COSTS: Final = (1.0, 700.5, 1e6)


def check_route_policy(policy: Any, params: Mapping[str, object] | None = None, limits: Limits = LIMITS) -> None:
    """Try a route class.

    Checked: its shape; it names one of its `models`, whatever is known of the task, left of the budget and taken by
    each; where some of them are expected to take more than is left, and some are not, one that is not; asked the same
    again, it says the same; answers depend on the seed and on what the run's memory was asked and told only, and not on
    other runs; a memory that tells its `changes` answers the same if it is another, restored one each time.

    Raises:
        NotConformant: a promise is broken.
    """
    case = Case.of("route", policy, params, limits)
    used = case.build()
    _check_shape(case, used)
    answers = list(_answers(case, used, used.open(SEED)))
    case.require(list(_answers(case, used, used.open(SEED))) == answers, "Pure", "remembers another run")
    if check_lasting(case, used.open(SEED)):
        again = list(_answers(case, used, used.open(SEED), again=True))
        case.require(again == answers, "Lasts", "answers otherwise once it is restored from its changes")
    fresh = case.build()
    case.require(list(_answers(case, fresh, fresh.open(SEED))) == answers, "Pure", "answers otherwise the second time")


def _check_shape(case: Case, used: Any) -> None:
    named = isinstance(used.models, tuple) and all(isinstance(name, str) and name for name in used.models)
    several = named and len(used.models) == len(set(used.models)) >= 2
    case.require(several, "Shape", f"has models {used.models!r}; they must be a tuple of two or more different names")
    case.require(used.rated in (None, *used.models), "Shape", f"has rated {used.rated!r}, which is none of its models")
    number = used.success is None or isinstance(used.success, float)
    case.require(number, "Shape", f"has success {used.success!r}; it must be a reward or None")


def _answers(case: Case, used: Any, memory: Any, again: bool = False) -> Iterator[str]:
    """What a run's tasks are told while their trees end. `again`: another memory goes on each time."""
    parts: dict[str, Any] = {}
    for turn, (tokens, seconds, history) in enumerate(product(TOKENS, SECONDS, HISTORIES)):
        task = TaskView(f"t{_draw(40, turn)}", TEXTS[turn % len(TEXTS)] + f" {turn % 7} + 1 =", 9, *history)
        budget = BudgetView(tokens, seconds, COSTS[turn % 3], _draw(50, turn, "left") + 1, _draw(64, turn, "slots"))
        models = {name: _model(turn, name) for name in used.models}
        yield _asked(case, used, memory, task, budget, models)
        for name in used.models:
            memory.learn(task, OUTCOMES[_draw(len(OUTCOMES), turn, name)], name)
        if again:
            memory = restored(case, memory, used.open(SEED), parts)


def _model(turn: int, name: str) -> ModelView:
    taken = 1e5 * uniform(SEED, turn, name)
    return ModelView(COSTS[_draw(len(COSTS), turn, name, "cost")], taken, _draw(3, turn, name, "slots"))


def _asked(
    case: Case, used: Any, memory: Any, task: TaskView, budget: BudgetView, models: Mapping[str, ModelView]
) -> str:
    said = []
    for _ in range(2):
        shown = dict(models)
        try:
            said.append(memory.route(task, budget, shown))
        except Exception as error:  # whatever a route may raise
            raise case.broken("Answer", f"fails with {budget}: {type(error).__name__}: {error}") from error
        case.require(shown == models, "ReadsOnly", "changes the models that it is shown")
        case.require(said[-1] in used.models, "Answer", f"names {said[-1]!r}, which is none of its models")
    case.require(said[0] == said[1], "Settled", f"names {said[0]!r}, then {said[1]!r} when asked again")
    left = budget.tokens_left
    fitting = [name for name, model in models.items() if left is None or model.tokens_per_tree <= left]
    masked = not fitting or said[0] in fitting
    case.require(masked, "HardBudget", f"names {said[0]!r} with {left} tokens left, where only {fitting} fit")
    return str(said[0])


def _draw(many: int, *key: int | str) -> int:
    return randint(0, many - 1, SEED, *key)

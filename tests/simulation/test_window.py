"""Trees of a run with a window leave in the order of their tasks, but for the window; those asked for leave at once."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from treeroll.core.model.delivery import DeliveryRules
from treeroll.core.model.effects import Effect, EmitTree
from treeroll.core.model.events import RunCancelled, TreesAsked
from treeroll.simulation.world import World

TASKS = 16


class Ordered(World):
    """Notes in which order trees leave, and that each may do so."""

    def __init__(self, window: int, **fields: Any) -> None:
        super().__init__(**{"leaves": 2, "max_depth": 4, "end_share": 0.02, "tasks": TASKS, **fields})
        self.spec = replace(self.spec, delivery=DeliveryRules(window=window))
        self.window = window
        self.left: list[int] = []
        self.asked: set[int] = set()

    def _perform(self, effect: Effect) -> None:
        super()._perform(effect)
        if isinstance(effect, EmitTree):
            number = int(effect.live.tree_id.removeprefix("tree"))
            head = next(n for n in range(TASKS) if n not in self.left)
            assert number < head + self.window or number in self.asked
            self.left.append(number)

    def ask(self, number: int) -> None:
        self.asked.add(number)
        self._feed(TreesAsked("run", [f"tree{number}"]))


@given(
    seed=st.integers(0, 10_000),
    window=st.sampled_from([1, 2, 5, TASKS]),
    asked=st.lists(st.tuples(st.integers(0, 60), st.integers(0, TASKS - 1)), max_size=4),
    cancelled=st.one_of(st.none(), st.integers(0, 60)),
)
@settings(max_examples=40, deadline=None)
def test_trees_leave_inside_of_the_window_and_all_of_them_do(
    seed: int, window: int, asked: list[tuple[int, int]], cancelled: int | None
) -> None:
    world = Ordered(window, seed=seed, slots=4)
    world.start()
    steps = 0
    while world.go_on():
        for at, number in asked:
            if at == steps:
                world.ask(number)
        if steps == cancelled:
            world._feed(RunCancelled("run"))
        steps += 1
    assert sorted(world.left) == list(range(TASKS))
    if window == 1 and not asked:
        assert world.left == list(range(TASKS))


def test_a_tree_that_waits_for_its_turn_counts_as_growing_and_leaves_when_it_is_asked_for() -> None:
    world = Ordered(1, seed=3, slots=8)
    world.start()
    run = world.state.runs["run"]
    assert run.window is not None
    while not run.window.held:
        assert world.go_on()
    (number,) = run.window.held
    assert number not in world.left
    world.ask(number)
    assert world.left[-1] == number
    assert not run.window.held


def test_without_a_window_trees_leave_as_they_end() -> None:
    plain, wide = World(seed=3, tasks=TASKS), Ordered(TASKS, seed=3, leaves=8, max_depth=6, end_share=0.01)
    plain.run()
    wide.run()
    assert list(plain.finished) == list(wide.finished)
    assert wide.left != sorted(wide.left)

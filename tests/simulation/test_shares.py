"""Several runs on one fleet: tokens by weight while all want them, everything to the others while one is idle."""

import heapq
from dataclasses import replace

import pytest

from treeroll.core.model.events import RunCreated, TasksSubmitted
from treeroll.core.model.run import Run
from treeroll.simulation.world import World


class Fleet(World):
    """A saturated fleet and several runs of this world's kind."""

    def create(self, run_id: str, weight: float) -> Run:
        self._feed(RunCreated(replace(self.spec, run_id=run_id, weight=weight)))
        return self.state.runs[run_id]

    def submit(self, run_id: str, tasks: int, epoch: int = 0) -> None:
        made = [self._task(n, epoch) for n in range(tasks)]
        named = [replace(task, tree_id=f"{run_id}-{epoch}-{task.tree_id}") for task in made]
        self._feed(TasksSubmitted(run_id, named))

    def start(self) -> None:
        for name in self.incarnation:
            self._join(name)

    def until_spent(self, tokens: int) -> None:
        """Let things happen until the fleet has generated so many tokens, or nothing is left to do."""
        while self.queue and sum(run.ledger.spent for run in self.state.runs.values()) < tokens:
            self.now, _, what = heapq.heappop(self.queue)
            self._happen(what)


@pytest.mark.parametrize("recipe", ["flat", "treepo"])
def test_two_runs_of_weights_3_and_1_get_tokens_3_to_1(recipe: str) -> None:
    fleet = Fleet(seed=5, replicas=2, slots=8, recipe=recipe, leaves=4)
    heavy, light = fleet.create("heavy", 3.0), fleet.create("light", 1.0)
    for run_id in ("heavy", "light"):
        fleet.submit(run_id, 250)
    fleet.start()
    fleet.until_spent(80_000)
    assert heavy.waiting
    assert light.waiting
    assert heavy.ledger.spent / light.ledger.spent == pytest.approx(3.0, rel=0.05)


def test_the_share_of_an_idle_run_is_used_by_the_other_and_is_no_debt() -> None:
    fleet = Fleet(seed=6, replicas=2, slots=8, leaves=4)
    heavy, light = fleet.create("heavy", 3.0), fleet.create("light", 1.0)
    fleet.submit("light", 250)
    fleet.start()
    fleet.until_spent(20_000)
    assert light.ledger.spent >= 20_000
    assert fleet.state.pools[""].free_slots.free == 0
    before = light.ledger.spent
    fleet.submit("heavy", 250)
    fleet.until_spent(80_000)
    assert heavy.waiting
    assert light.waiting
    assert heavy.ledger.spent / (light.ledger.spent - before) == pytest.approx(3.0, rel=0.1)


def test_a_run_pays_for_prefixes_that_are_computed_again() -> None:
    fleet = Fleet(seed=7, replicas=2, slots=8, leaves=4, kill_share=0.0)
    run = fleet.create("run", 1.0)
    fleet.submit("run", 20)
    fleet.start()
    fleet.until_spent(10**9)
    again = sum(live.recomputed for live in fleet.finished.values())
    assert again > 0
    assert run.charged == pytest.approx(run.ledger.spent + again)


def test_trees_are_the_same_whoever_else_is_served() -> None:
    def grown(*others: str) -> dict[str, list[object]]:
        fleet = Fleet(seed=8, replicas=1, slots=4, leaves=4)
        for run_id in ("run", *others):
            fleet.create(run_id, 1.0)
            fleet.submit(run_id, 6)
        fleet.start()
        fleet.until_spent(10**9)
        trees = {name: live for name, live in fleet.finished.items() if name.startswith("run-")}
        return {
            name: sorted((live.tree.path(node.number), node.n_tokens) for node in live.tree.nodes)
            for name, live in trees.items()
        }

    assert grown() == grown("other", "third")

"""A replica that says anything at all: the core refuses it or takes it, and no other replica's work changes form."""

import random
from dataclasses import dataclass

import pytest
from msgspec import structs

from treeroll.core.model.effects import StartBranch
from treeroll.core.model.events import EndKind, Event, ReplicaFaulted, SegmentReported
from treeroll.core.model.live_tree import TreeStatus
from treeroll.errors import BrokenInvariant
from treeroll.simulation.language import Payload, text_of
from treeroll.simulation.world import Due, Incarnation, World

HUGE = 2**32 - 1
HOSTILE = "r0"


@dataclass
class HostileWorld(World):
    """What r0 reports is what a replica should, changed by chance; when it is refused r0 comes back in another life."""

    refused: int = 0
    taken: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.dice = random.Random(f"hostile-{self.seed}")

    def go_on(self) -> bool:
        """A branch that it never speaks of again ends with its life."""
        if super().go_on():
            return True
        if not self.state.replicas[HOSTILE].grants:
            return False
        self.kill(HOSTILE)
        return True

    def _happen(self, what: Event | Due) -> None:
        if not isinstance(what, tuple) or what[0][0] != HOSTILE:
            super()._happen(what)
            return
        key, grant = what
        serving = self.serving.get(key, {}).get(grant)
        if serving is None:
            return
        report = self.changed(self.segment(key, serving))
        try:
            self._feed(report)
            self.taken += 1
        except BrokenInvariant as error:
            self.refused += 1
            self._audit()
            self._feed(ReplicaFaulted(*key, str(error), error.grant))

    def changed(self, report: SegmentReported) -> SegmentReported:
        dice, changes = self.dice, {}
        for _ in range(dice.randint(0, 2)):
            name = dice.choice(["grant", "n_tokens", "dropped_tokens", "cached_tokens", "end", "cuts", "tail", "text"])
            changes[name] = {
                "grant": lambda: dice.choice([0, HUGE, *self.state.grants]),
                "n_tokens": lambda: dice.choice([0, 1, dice.randint(0, 400), HUGE]),
                "dropped_tokens": lambda: dice.choice([1, 32, 33, dice.randint(0, 400), HUGE]),
                "cached_tokens": lambda: dice.choice([None, 0, dice.randint(0, 400), HUGE]),
                "end": lambda: dice.choice([None, *EndKind]),
                "cuts": lambda: True,
                "tail": lambda: "x" * 256,
                "text": lambda: "\\boxed{" * dice.randint(0, 99),
            }[name]()
        report = structs.replace(report, **changes)
        if changes.keys() & {"n_tokens"} or report.payload is None:
            # The edge refuses what does not hold as many tokens as it says.
            tokens = [7] * min(report.n_tokens, 1000)
            report.payload = Payload(0, tokens, "".join(map(text_of, tokens)))
        return report

    def _check_prefix(self, key: Incarnation, start: StartBranch) -> None:
        """What r0 should keep, and where its nodes begin, it alone knows."""
        if key[0] == HOSTILE:
            self.kept[key].setdefault(start.tree_id, {})[start.grant] = start.prefix_tokens
        elif not any(node.replica_id == HOSTILE for node in self.state.trees[start.tree_id].tree.nodes):
            super()._check_prefix(key, start)
        else:
            self.kept[key].setdefault(start.tree_id, {})[start.grant] = start.prefix_tokens


@pytest.mark.parametrize("recipe", ["treepo", "flat", "tree_grpo"])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_a_replica_says_every_task_ends_and_accounts_stay_right(
    seed: int, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treeroll.core.model.health.RESTS_S", (0.1,))
    world = HostileWorld(seed=seed, replicas=2, slots=4, leaves=6, tasks=12, recipe=recipe, max_losses=1000)
    assert len(world.run()) == 12
    assert min(world.taken, world.refused) > 0
    run = world.state.runs["run"]
    assert run.ledger.outstanding == 0
    assert run.ledger.spent < 2 * 12 * 6 * 6 * 32 + 32 * world.taken
    untouched = [
        live for live in world.finished.values() if all(node.replica_id != HOSTILE for node in live.tree.nodes)
    ]
    assert all(live.status is TreeStatus.COMPLETE for live in untouched if not live.faults)

"""The core is a line: on its way through it an event does not come back to where it was."""

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest

from treeroll.core.model.effects import Effect, StartBranch
from treeroll.core.model.events import Event
from treeroll.core.model.state import State
from treeroll.simulation import world
from treeroll.simulation.world import World

DECIDING = ("growth/", "budget/", "scheduling/", "step.py")


class Walk:
    """Which files of the core that decide something are entered from another one of these, how often."""

    def __init__(self) -> None:
        self.entries: Counter[str] = Counter()
        self._stack: list[str | None] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """A profile function: calls count, returns do not."""
        if event == "return":
            if self._stack:
                self._stack.pop()
            return
        if event != "call":
            return
        name = frame.f_code.co_filename.partition("treeroll/core/")[2]
        file = name if name.startswith(DECIDING) else None
        caller = next((one for one in reversed(self._stack) if one), None)
        if file and file != caller:
            self.entries[file] += 1
        self._stack.append(file)


@pytest.mark.parametrize("recipe", ["treepo", "rebase", "ets", "flat"])
def test_an_event_enters_no_deciding_file_of_the_core_more_than_twice(recipe: str, monkeypatch: pytest.MonkeyPatch):
    step, walks = world.step, []

    def watched(state: State, event: Event, now: float) -> list[Effect]:
        walk = Walk()
        sys.setprofile(walk)
        try:
            effects = step(state, event, now)
        finally:
            sys.setprofile(None)
        walks.append((walk.entries, sum(isinstance(effect, StartBranch) for effect in effects)))
        return effects

    monkeypatch.setattr(world, "step", watched)
    World(recipe=recipe, tasks=3).run()
    # Scheduling grants branches one after the other: a walk that grants several is several walks from there on.
    single = [entries for entries, started in walks if started <= 1]
    assert len(single) > 10
    for entries in single:
        assert {file: n for file, n in entries.items() if n > 2} == {}

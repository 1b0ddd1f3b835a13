"""A trainer's checkpoint: where its group stands is saved, and some time later the group is moved back there."""

from typing import TYPE_CHECKING

from treeroll import ranges
from treeroll.errors import InvalidInput, UnknownRun
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.ranges import Range
from treeroll.simulation.universe.oracles import Broken
from treeroll.simulation.universe.requests import Request
from treeroll.simulation.universe.surroundings import Aborted, refused
from treeroll.simulation.universe.trainer import GROUP

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

AGAIN_S = 1.0


class Rewinder:
    """Moves the group once, by one move id however often it has to ask. What it left out must be lent again."""

    def __init__(self, universe: "Universe", at: float) -> None:
        self.done = False
        """Whether the group was moved, or can be no more."""
        self._universe = universe
        self._moved: list[Range] | None = None
        """What was acknowledged from the move on, once somebody was told of it."""
        self._lost = False
        universe.after(at, self._save)

    def forget(self) -> None:
        """The store may have lost the move, and what was saved names trees that are others by now."""
        self._lost, self._moved, self.done = True, None, True

    def _save(self) -> None:
        request = api.OpenGroupRequest(run_id=self._universe.spec.run_id, group=GROUP)
        Request(self._universe, "OpenGroup", request, self._saved)

    def _saved(self, position: api.GroupPosition | None, error: Aborted | None) -> None:
        universe = self._universe
        if self._lost:
            return
        if error is not None and refused(error, UnknownRun):  # not yet, or not any more
            self.done = bool(universe.deleted)
            if not self.done:
                universe.after(AGAIN_S, self._save)
        elif position is None:
            self._fail("save", error)
        else:
            universe.note(f"the group is saved: {_told(_acknowledged(position))}")
            universe.after(universe.random.uniform(1.0, 10.0), self._seek, position)

    def _seek(self, saved: api.GroupPosition) -> None:
        done = _acknowledged(saved)
        last = max((last for _, last in done), default=0)
        request = api.SeekGroupRequest(
            run_id=self._universe.spec.run_id, group=GROUP, run_created=saved.run_created, move_id="back",
            acknowledged=saved.acknowledged, seen=[api.FeedMark(owner_epoch=saved.owner_epoch, last=last)],
        )  # fmt: skip
        if not self._lost:
            Request(self._universe, "SeekGroup", request, lambda got, error: self._sought(done, error))

    def _sought(self, done: list[Range], error: Aborted | None) -> None:
        if self._lost:
            return
        self.done = True
        gone = refused(error, UnknownRun, InvalidInput) if error is not None else False
        if error is None:
            self._universe.note(f"the group is back at {_told(done)}")
            self._moved = done
        elif not (gone and (self._universe.deleted or self._universe.gone)):  # trees that it would need
            self._fail("move", error)

    def _fail(self, what: str, error: Aborted | None) -> None:
        self.done = True
        self._universe.found("Answered", f"who wants to {what} its group is told {error}")

    def check(self, feed: list[str], lent: set[int]) -> list[Broken]:
        """All that was left out has come again since the move; `lent` are the places in the feed that were lent."""
        if self._moved is None:
            return []
        return [
            Broken("NoAckedLoss", f"the group was moved back before tree {tree_id}, which never came again")
            for seq, tree_id in enumerate(feed, 1)
            if seq not in lent and not ranges.has(self._moved, seq)
        ]


def _acknowledged(position: api.GroupPosition) -> list[Range]:
    return [(pair.first, pair.last) for pair in position.acknowledged]


def _told(done: list[Range]) -> str:
    return ", ".join(f"{first} to {last}" for first, last in done) or "its beginning"

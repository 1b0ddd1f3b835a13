"""Coordinators of a universe, one after the other: when they die or stand still, who takes over, and who knows."""

import asyncio
from typing import TYPE_CHECKING

from treeroll.errors import StaleEpoch, StoreDown, StoreError
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.simulation.universe.faults import UNTIL_S
from treeroll.simulation.universe.life import Crash, Life
from treeroll.simulation.universe.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

# A coordinator that another has taken over from knows it by then: heartbeats, and commits that it sends again.
STALE_S = 30.0


class Succession:
    """Who coordinates, who did, and who will."""

    def __init__(self, universe: "Universe") -> None:
        self.lives = self.points = 0
        """How many there were, and between how many things that they do they could have died."""
        self.life: Life | None = None
        self.untold = False
        """Clients do not know yet that the store forgot."""
        self._universe = universe
        self._loops: list[VirtualLoop] = []
        self._stopped: list[Life] = []
        self._heir: Life | None = None
        self._crashes_left = universe.faults.crashes
        self._crash_next = universe.random.randint(1, universe.faults.crash_every)
        self._damaged = ""
        self._knows: Life | None = None  # who took up what a store that forgot has left

    def start(self) -> None:
        """Somebody takes over."""
        universe = self._universe
        if self._heir is not None:
            self.life, self._heir = self._heir, None
            self._tell_of_loss()
            return
        self.lives += 1
        universe.note(f"coordinator {self.lives} starts")
        offset, drift = universe.random.uniform(0, 1e5), universe.faults.drift * universe.random.uniform(-1, 1)
        loop = VirtualLoop(universe.events, offset, universe.wall, 1 + drift)  # type: ignore[abstract]
        self._loops.append(loop)
        self.life = Life(universe, universe.core, loop)

    def called(self) -> Life | None:
        """Whom a client reaches: now and then one that another has taken over from, as long as there is one."""
        if self._stopped and self._universe.random.random() < 0.3:
            return self._stopped[0]
        return self.life

    @property
    def adopted(self) -> int:
        """Branches that went on with the last coordinator as its predecessor had begun them."""
        return self.life.coordinator.recovered.adopted if self.life is not None else 0

    def bury(self) -> None:
        """The world is over: nothing of any of them happens any more."""
        for loop in self._loops:
            loop.bury()

    # How they end:

    def point(self, where: str) -> None:
        """A coordinator is between two things that it does: here it may die."""
        if self.life is None or asyncio.get_running_loop() is not self.life.loop:
            return
        self.points += 1
        dies = self.points in self._universe.crash_at
        if self._crashes_left and self.points >= self._crash_next and self._universe.events.now < UNTIL_S:
            self._crashes_left -= 1
            self._crash_next = self.points + self._universe.random.randint(1, self._universe.faults.crash_every)
            dies = True
        if dies:
            self._dies(f"dies at point {self.points}, {where}")
            raise Crash

    def die_next(self) -> None:
        """It dies at the next point, and no other does."""
        self._crashes_left, self._crash_next = 1, self.points + 1

    def _dies(self, how: str, *, damage: bool = True) -> None:
        life, self.life = self.life, None
        if life is None:
            return
        universe = self._universe
        universe.note(f"coordinator {self.lives} {how}")
        life.loop.die()
        if damage and universe.faults.damage and not self._damaged:
            self._damage()
        for server in universe.servers:
            server.bereft(life)
        universe.after(universe.random.uniform(0.1, 3.0), self.start)

    def _damage(self) -> None:
        """Something that nobody knows of changed a stored node."""
        trees = self._universe.store._trees
        for name in sorted(trees):
            tree = trees[name]
            if len(tree.nodes) > 1 and tree.journal and not tree.fed:
                record = pb.Node.FromString(tree.nodes[1])
                record.depth += 1
                tree.nodes[1] = record.SerializeToString()
                self._damaged = name
                self._universe.note(f"a node of {name} is damaged")
                return

    def pause(self) -> None:
        """The coordinator stands still, so another one takes over; then it goes on."""
        life, universe = self.life, self._universe
        if life is None or not life.serves:
            return
        universe.note(f"coordinator {self.lives} stands still")
        self.life = None
        life.loop.stands_until = universe.events.now + universe.random.uniform(0.5, 12.0)
        self._stopped.append(life)
        for server in universe.servers:
            universe.after(universe.random.uniform(0.0, 3.0), server.bereft, life)
        universe.after(universe.random.uniform(0.1, 3.0), self.start)

    def look(self) -> None:
        """Whether one has ended, and how."""
        if self._stopped:
            self._look_after_stopped()
        if self.life is None or not self.life.loop.errors or (error := self.life.ended_by) is None:
            return
        heir = self._stopped[0] if self._stopped else None
        if isinstance(error, StaleEpoch) and heir is not None and self._universe.store.lost_at is not None:
            # One that was held up found the store empty, and took it up before this one found out.
            self._dies("ends: another one has taken up what is left", damage=False)  # that one reads it no more
            self._stopped.remove(heir)
            self._heir = heir
        elif isinstance(error, StoreDown) and not self.life.serves:
            self._dies("finds no store that it could go on with")
        else:
            self._ended(error)

    def _look_after_stopped(self) -> None:
        """One that goes on writes nothing, finds out, and ends."""
        universe = self._universe
        now, down_until = universe.events.now, universe.store.down_until
        for life in self._stopped:
            if life.ended_by is None:
                if now > max(life.loop.stands_until, down_until) + STALE_S:
                    universe.found("StaleFenced", f"coordinator of epoch {life.epoch} goes on beside another one")
            elif isinstance(life.ended_by, StoreError):
                universe.note(f"coordinator of epoch {life.epoch} ends: {life.ended_by}")
                life.loop.die()
                self._stopped.remove(life)
                return
            else:
                self._ended(life.ended_by)

    def _ended(self, error: BaseException) -> None:
        self._universe.found("ServiceLives", f"the coordinator ended: {type(error).__name__}: {error}")

    # How they go on:

    def recovered(self, life: Life) -> None:
        """A coordinator has taken up what it found."""
        universe, found = self._universe, life.coordinator.recovered
        if self.untold:
            self._knows = life
            self._tell_of_loss()
        universe.note(f"coordinator {self.lives} goes on with {found.trees} trees of {found.nodes} nodes")
        for run_id, why in found.suspended.items():
            universe.found("Recovery", f"run {run_id} is suspended: {why}")
        for tree_id, why in found.damaged.items():
            if tree_id != self._damaged:
                universe.found("Recovery", why)

    def forgot(self) -> None:
        """The store went back in time."""
        self.untold = True

    def _tell_of_loss(self) -> None:
        """It found out, or its operator did, and says so: as soon as clients ask it, and none that does not know."""
        if self.untold and self.life is self._knows:
            self.untold = False
            self._universe.submitter.again()

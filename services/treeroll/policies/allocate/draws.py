"""Draws with replacement from what is newest, that change only where they must."""

import math
from collections import defaultdict

from treeroll.tree.rng import uniform


class StandingDraws:
    """So many independent, uniform draws from the newest `most` items of a stream, as places in a ring of that size.

    A new item is drawn by each draw with the chance that it has then, 1 / n, as a draw from one item more; all others
    stay what they are (as in consistent hashing). So whatever is made of draws is to be made again for few of them.
    """

    def __init__(self, seed: int, draws: int, most: int) -> None:
        self.places = [0] * draws
        self._seed = seed
        self._most = most
        self._items = 0
        # By the number of items with which a draw changes next.
        self._changes = defaultdict(list, {1: list(range(draws))})

    @property
    def items(self) -> int:
        """How many there have been."""
        return self._items

    def go_on(self, items: int) -> None:
        """Draw what was drawn when there had been so many, right after it was made."""
        for _ in range(min(items, self._most)):  # from then on draws keep their places
            self.add()
        self._items = items

    def add(self) -> tuple[int, list[int]]:
        """There is one more item: its place in the ring, and which draws are that item now."""
        self._items += 1
        place = (self._items - 1) % self._most
        if self._items > self._most:
            # The oldest item's draws are the new one's.
            return place, [draw for draw, at in enumerate(self.places) if at == place]
        changed = self._changes.pop(self._items, [])
        for draw in changed:
            self.places[draw] = place
            # It stays for n items more with the chance items / (items + n).
            stays = self._items / max(uniform(self._seed, "draw", draw, self._items), 2.0**-54)
            if stays < self._most:
                self._changes[math.floor(stays) + 1].append(draw)
        return place, changed

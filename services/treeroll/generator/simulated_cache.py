"""A prefix cache in blocks, as vLLM's: full blocks only, shared by equal prefixes, oldest evicted first."""

from array import array
from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Holding:
    """Blocks that one running request holds."""

    keys: list[int] = field(default_factory=list)
    """Its full blocks, in order, as hashes of the salt and all tokens up to each one's end."""
    partial: bool = False
    """Whether it also has a block that is not full yet."""


class BlockCache:
    """Counts blocks; it stores no KV."""

    def __init__(self, blocks: int, block_size: int) -> None:
        self.blocks = blocks
        self.block_size = block_size
        self._users: dict[int, int] = {}  # requests per held full block
        self._idle: OrderedDict[int, None] = OrderedDict()  # cached, held by nobody; oldest first
        self._partial = 0

    @property
    def used(self) -> int:
        """Blocks held by running requests."""
        return len(self._users) + self._partial

    def admit(self, salt: str, ids: "array[int]") -> tuple[Holding, int] | None:
        """Take blocks for a request's tokens. Returns them and the tokens found cached; None if they do not fit now.

        The last token is never a hit: the engine needs its logits.
        """
        holding = Holding()
        previous = hash(salt)
        cached, hitting = 0, True
        new: list[int] = []
        for end in range(self.block_size, len(ids) + 1, self.block_size):
            previous = hash((previous, ids[end - self.block_size : end].tobytes()))
            known = previous in self._users or previous in self._idle
            hitting = hitting and known and end < len(ids)
            cached += self.block_size * hitting
            holding.keys.append(previous)
            if previous not in self._users:
                new.append(previous)
        holding.partial = len(ids) % self.block_size > 0
        if self.used + len(new) + holding.partial > self.blocks:
            return None
        for key in holding.keys:
            self._hold(key)
        self._partial += holding.partial
        self._evict()
        return holding, cached

    def grow(self, holding: Holding, salt: str, ids: "array[int]") -> bool:
        """Follow a request that has more tokens now. False if there is no room: the engine must preempt somebody."""
        full = len(ids) // self.block_size
        partial = len(ids) % self.block_size > 0
        needed = full - len(holding.keys) + partial - holding.partial
        if needed > 0 and self.used + needed > self.blocks:
            return False
        previous = holding.keys[-1] if holding.keys else hash(salt)
        for index in range(len(holding.keys), full):
            previous = hash((previous, ids[index * self.block_size : (index + 1) * self.block_size].tobytes()))
            holding.keys.append(previous)
            self._hold(previous)
        self._partial += partial - holding.partial
        holding.partial = partial
        self._evict()
        return True

    def release(self, holding: Holding) -> None:
        """Give blocks back; full ones stay cached until they are evicted, a sequence's tail first."""
        for key in reversed(holding.keys):
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                self._idle[key] = None
        self._partial -= holding.partial
        holding.keys, holding.partial = [], False

    def clear(self) -> None:
        """Forget what no request holds."""
        self._idle.clear()

    def _hold(self, key: int) -> None:
        self._idle.pop(key, None)
        self._users[key] = self._users.get(key, 0) + 1

    def _evict(self) -> None:
        while self._idle and self.used + len(self._idle) > self.blocks:
            self._idle.popitem(last=False)

"""A store that can be put back to what it was, as Redis is by a backup, and says so as it does."""

import copy
from typing import Any

from treeroll.errors import LostWork
from treeroll.store.base import Commit, Heartbeat
from treeroll.store.memory import MemoryStore


class ForgetfulStore(MemoryStore):
    """Numbers commits as `commit.lua` does: whoever commits after it went back is told, until it is opened anew."""

    def __init__(self) -> None:
        super().__init__()
        self._answered = 0
        self._content = vars(MemoryStore()).keys() - {"_clock"}

    def keep(self) -> dict[str, Any]:
        """All that it has now."""
        return copy.deepcopy({name: getattr(self, name) for name in self._content})

    def go_back(self, kept: dict[str, Any]) -> None:
        """Have nothing but that."""
        vars(self).update(copy.deepcopy(kept))

    async def open(self, after: int = 0, heard: Heartbeat | None = None) -> int:
        self._answered = 0
        return await super().open(after, heard)

    async def commit(self, commit: Commit, epoch: int) -> None:
        if self._epoch <= epoch and self._commits < self._answered:
            raise LostWork(f"the store has commit {self._commits}, and had answered for {self._answered}")
        await super().commit(commit, epoch)
        self._answered = self._commits

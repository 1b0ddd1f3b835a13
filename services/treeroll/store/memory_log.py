"""A log of the memory store, bounded in bytes as that of Redis is."""

from collections import deque
from itertools import islice

from treeroll.store.base import LogEntry


class MemoryLog:
    """Entries with their places, see LogEntry."""

    def __init__(self) -> None:
        self._entries: deque[tuple[LogEntry, str]] = deque()  # each with the run that it is of
        self.place = 0
        """How many bytes there have ever been."""

    def add(self, blob: bytes, kept: int, run_id: str = "") -> None:
        """One more, of a run or of none; an empty one is none. Entries that are more than so many bytes back go."""
        if not blob:
            return
        self.place += len(blob)
        self._entries.append(((self.place, blob), run_id))
        while self._entries[0][0][0] < self.place - kept:
            self._entries.popleft()

    def forget(self, run_id: str) -> None:
        """Those of a run go."""
        self._entries = deque(kept for kept in self._entries if kept[1] != run_id)

    def behind(self, after: int, most: int) -> list[LogEntry]:
        """The first so many behind a place."""
        return list(islice((entry for entry, _ in self._entries if entry[0] > after), most))

"""Seals on lease ids: nobody acknowledges a lease that he was not given, however well he guesses, or one of a tree that
the store has forgotten, whose place in the feed another may have now."""

import hmac
from collections.abc import Iterable
from hashlib import sha256

from treeroll.access.identity import caller

SEAL_CHARS = 16


class Seals:
    """Seals of the leases of one store, for the callers that they were given to."""

    def __init__(self, key: bytes | None = None, line: int = 0) -> None:
        """`key`: as long as the store, so that leases outlast the service; None, without tokens: callers are not told
        apart. `line`: of the store, see `Store.line`."""
        self._key = key
        self._line = f"{line}/" if line else ""

    def sealed(self, run_id: str, group: str, lease_id: str) -> str:
        """The lease id as the caller gets it."""
        named = self._line + lease_id
        return named if self._key is None else f"{named}.{self._seal(self._key, run_id, group, named)}"

    def opened(self, run_id: str, group: str, texts: Iterable[str]) -> dict[str, str]:
        """The lease ids of those texts that the caller was given as leases of this group, by text."""
        found = {}
        for text in texts:
            named = text if self._key is None else self._unsealed(self._key, run_id, group, text)
            if named is not None and _line_of(named) == self._line:
                found[text] = named.removeprefix(self._line)
        return found

    def _unsealed(self, key: bytes, run_id: str, group: str, text: str) -> str | None:
        named, _, seal = text.rpartition(".")
        good = hmac.compare_digest(seal.encode(), self._seal(key, run_id, group, named).encode())
        return named if good else None

    @staticmethod
    def _seal(key: bytes, run_id: str, group: str, lease_id: str) -> str:
        parts = [part.encode() for part in (caller().name, run_id, group, lease_id)]
        said = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
        return hmac.new(key, said, sha256).hexdigest()[:SEAL_CHARS]


def _line_of(named: str) -> str:
    """Of a lease id that begins "<line>/"; "" for one of a store that has lost nothing. Consumers' names have slashes,
    too."""
    line, slash, _ = named.partition("/")
    return line + slash if slash and line.isascii() and line.isdigit() else ""

"""Seals on lease ids: with one nobody acknowledges a lease that he was not given, however well he guesses."""

import hmac
from collections.abc import Iterable
from hashlib import sha256

from treeroll.access.identity import caller

SEAL_CHARS = 16


class Seals:
    """Seals of the leases of one store, for the callers that they were given to. A service without tokens has none."""

    def __init__(self, key: bytes | None = None) -> None:
        """`key`: as long as the store, so that leases outlast the service; None: ids travel as they are."""
        self._key = key

    def sealed(self, run_id: str, group: str, lease_id: str) -> str:
        """The lease id as the caller gets it."""
        return lease_id if self._key is None else f"{lease_id}.{self._seal(self._key, run_id, group, lease_id)}"

    def opened(self, run_id: str, group: str, texts: Iterable[str]) -> dict[str, str]:
        """The lease ids of those texts that the caller was given as leases of this group, by text."""
        if self._key is None:
            return {text: text for text in texts}
        found = {}
        for text in texts:
            lease_id, _, seal = text.rpartition(".")
            if hmac.compare_digest(seal.encode(), self._seal(self._key, run_id, group, lease_id).encode()):
                found[text] = lease_id
        return found

    @staticmethod
    def _seal(key: bytes, run_id: str, group: str, lease_id: str) -> str:
        parts = [part.encode() for part in (caller().name, run_id, group, lease_id)]
        said = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
        return hmac.new(key, said, sha256).hexdigest()[:SEAL_CHARS]

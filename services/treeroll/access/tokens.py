"""Tokens in force: those of a file, read again when it changes, and those that are given to our own replicas."""

import hmac
import logging
import os
from pathlib import Path

from treeroll import clock
from treeroll.access.identity import Identity, Role
from treeroll.access.token_file import TokenLine, new_token, read, sha256, written
from treeroll.errors import InvalidInput, NotAuthenticated

log = logging.getLogger(__name__)

SCHEME = "bearer "


class Tokens:
    """Says who calls, by what a call brings."""

    def __init__(self, file: Path) -> None:
        """InvalidInput if the file cannot be read or no line of it is a token."""
        self._file = file
        self._minted: dict[str, TokenLine] = {}
        self._listed: list[TokenLine] = []
        self._seen: tuple[int, ...] | None = None
        self._seen, self._listed = self._read()
        if not self._listed:
            raise InvalidInput(f"token file {file} has no token; `treeroll token make` writes one")

    def mint(self, replica_id: str) -> str:
        """A token with which a process may be this replica, in place of those that others were given for it."""
        token = new_token()
        self._minted[replica_id] = TokenLine(Identity(replica_id, Role.REPLICA), sha256(token))
        return token

    def who(self, authorization: str | bytes | None) -> TokenLine:
        """The token that a call brings as its `authorization`. NotAuthenticated says why it is none."""
        token = _token_of(authorization)
        if token is None:
            raise NotAuthenticated(
                "this service wants a token, and the call brings none: set TREEROLL_TOKEN or give token= to connect"
            )
        self._look()
        found = self._find(sha256(token))
        if found is None:
            raise NotAuthenticated("the token is none of this service's, or was revoked; ask its operator for another")
        if why := _expired(found):
            raise NotAuthenticated(why)
        return found

    def why_over(self, token: TokenLine) -> str:
        """Why a token that was in force is so no more, or not with the same rights; "" while it is."""
        self._look()
        if token not in self._listed and token not in self._minted.values():
            return f"the token of '{token.identity.name}' was revoked or changed while the call was under way"
        return _expired(token)

    def _find(self, digest: str) -> TokenLine | None:
        """All are compared, each in the same time: how long it takes says nothing of how near a guess was."""
        found = None
        for line in (*self._listed, *self._minted.values()):
            if hmac.compare_digest(line.sha256, digest):
                found = line
        return found

    def _look(self) -> None:
        """Read the file again if it changed; while it cannot be read, what was read last is in force."""
        try:
            if self._stamp() != self._seen:
                self._seen, self._listed = self._read()
                log.info("%s changed: %d tokens are in force", self._file, len(self._listed))
        except InvalidInput as error:
            if self._seen is not None:
                log.error("the tokens that there were stay in force: %s", error)
            self._seen = None

    def _stamp(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._file)
        except OSError as error:
            raise InvalidInput(f"token file {self._file} cannot be read: {error.strerror}") from None
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode

    def _read(self) -> tuple[tuple[int, ...], list[TokenLine]]:
        seen = self._stamp()  # before: a change while it is read is then seen the next time
        good, broken = read(self._file)
        for line in broken:
            log.error("%s line %d is no token and lets nobody in: %s", self._file, line.number, line.why)
        if seen[-1] & 0o022:
            log.warning("%s can be written by others than its owner, who may let themselves in", self._file)
        return seen, good


def _expired(token: TokenLine) -> str:
    if token.expires is None or clock.wall() < token.expires:
        return ""
    return f"the token of '{token.identity.name}' expired at {written(token.expires)}; ask for another"


def _token_of(authorization: str | bytes | None) -> str | None:
    if not isinstance(authorization, str) or not authorization.lower().startswith(SCHEME):
        return None
    return authorization[len(SCHEME) :].strip() or None

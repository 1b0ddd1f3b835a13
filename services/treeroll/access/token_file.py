"""The token file: one token a line, `role name sha256 [expires] [OPTION ...]`; `#` begins a comment.

Options are `runs=PREFIX`, `publish` and, for replicas, `replicas=PREFIX`. It holds hashes, so whoever reads it cannot
call with what is there. A line that is none is named by its number, and the others are in force.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from treeroll.access.identity import Identity, Role
from treeroll.errors import InvalidInput
from treeroll.whole_file import write_whole

PREFIX = "treeroll_"  # scanners of secrets, and people, see what it is
FORM = "role name sha256 [expires] [runs=PREFIX] [replicas=PREFIX] [publish]"
HEAD = f"# {FORM}, see `treeroll token --help`\n"
SECRET_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
SHA256 = re.compile(r"[0-9a-f]{64}")
ID_CHARS = 8


@dataclass(frozen=True, slots=True)
class TokenLine:
    """A token, as far as the service knows it."""

    identity: Identity
    sha256: str
    expires: float | None = None
    """Unix seconds from which on it is none; None: never."""

    @property
    def token_id(self) -> str:
        """What people call it by."""
        return self.sha256[:ID_CHARS]

    def __str__(self) -> str:
        who = self.identity
        words = [who.role.value, who.name, self.sha256]
        if self.expires is not None:
            words.append(written(self.expires))
        if who.runs:
            words.append(f"runs={who.runs}")
        if who.replicas:
            words.append(f"replicas={who.replicas}")
        if who.publish:
            words.append("publish")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line of a token file that is none."""

    number: int
    why: str


def new_token() -> str:
    """A token nobody can guess."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def sha256(token: str) -> str:
    """What a token file holds of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def parse(text: str) -> tuple[list[TokenLine], list[BrokenLine]]:
    """The tokens of a file, and the lines that are none."""
    good: list[TokenLine] = []
    broken: list[BrokenLine] = []
    first: dict[str, int] = {}
    for number, words in numbered(text.splitlines()):
        try:
            line = parse_line(words)
            if line.sha256 in first:
                raise InvalidInput(f"the token is that of line {first[line.sha256]}")
        except InvalidInput as error:
            broken.append(BrokenLine(number, str(error)))
        else:
            first[line.sha256] = number
            good.append(line)
    return good, broken


def numbered(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The words of each line that has any, with its number from 1."""
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words:
            yield number, words


def parse_line(words: list[str]) -> TokenLine:
    """A token from its words. InvalidInput says what is wrong with them; never the words, they may be a token."""
    if len(words) < 3:
        raise InvalidInput(f"a line is `{FORM}`")
    role, name, digest, *options = words
    if role not in set(Role):
        raise InvalidInput(f"the first word is none of the roles {', '.join(Role)}")
    if not NAME.fullmatch(name):
        raise InvalidInput("the name must be 1 to 64 of letters, digits, '.', '_' and '-'")
    if not SHA256.fullmatch(digest):
        raise InvalidInput("the third word is no SHA-256 in 64 hexadecimal digits; `treeroll token make` writes lines")
    prefixes, publish, expires = {"runs": "", "replicas": ""}, False, None
    for option in options:
        key, _, value = option.partition("=")
        if key in prefixes:
            if not NAME.fullmatch(value):
                raise InvalidInput(f"{key}= needs 1 to 64 of letters, digits, '.', '_' and '-'")
            prefixes[key] = value
        elif option == "publish":
            publish = True
        elif expires is None:
            expires = moment(option)
        else:
            raise InvalidInput(f"there are words after the token that are none of `{FORM}`")
    if prefixes["replicas"] and role != Role.REPLICA:
        raise InvalidInput("replicas= is for the role replica")
    return TokenLine(Identity(name, Role(role), **prefixes, publish=publish), digest, expires)


def moment(text: str) -> float:
    """Unix seconds of an ISO 8601 day or moment, UTC unless it says otherwise. InvalidInput for something else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"a line is `{FORM}`, and the day of expiry is written 2031-12-31") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def written(when: float) -> str:
    """A moment as a token file has it."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(file: Path) -> tuple[list[TokenLine], list[BrokenLine]]:
    """The tokens of a file. InvalidInput if it cannot be read."""
    return parse(_text(file))


def add(file: Path, line: TokenLine) -> None:
    """Write a token into the file, which is made if it is not there, for its owner alone to read."""
    text = _text(file) if file.exists() else HEAD
    _write(file, text + "\n" * (not text.endswith("\n")) + f"{line}\n")


def remove(file: Path, which: str) -> int:
    """Take tokens out of the file, by what people call one or by a name; how many. InvalidInput if there is none."""
    text = _text(file)
    gone = {line.sha256 for line in parse(text)[0] if which in (line.token_id, line.sha256, line.identity.name)}
    if not gone:
        raise InvalidInput(f"{file} has no token '{which}' and none of that name; see `treeroll token list`")
    _write(file, "".join(line for line in text.splitlines(keepends=True) if gone.isdisjoint(line.split())))
    return len(gone)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"token file {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"token file {file} is no text in UTF-8") from None


def _write(file: Path, text: str) -> None:
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    write_whole(file, text.encode(), mode)

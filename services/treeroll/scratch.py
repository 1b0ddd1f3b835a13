"""Temporary directories that go with their owner: removed when it ends, else by the next start of anybody.

Each holds a lock file. Whoever can take that lock knows that the owner is gone, however it went, and may remove the
directory. Kept logs of failed starts have no owner; the newest few stay.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from treeroll.errors import Unavailable

PREFIX = "treeroll-"
KEPT_PREFIX = "treeroll-logs-"
LOCK = "owner"
KEPT_LOGS = 5
# Linux has 108 bytes for a socket's path, with the closing zero.
LONGEST_SOCKET_PATH = 107
# Where sockets go whose paths would be too long in the chosen directory.
SHORT_PLACE = Path("/tmp")  # noqa: S108 - what is made there has a random name and mode 0700


class Scratch:
    """A private directory, mode 0700, as a context. Making one first removes those of dead owners beside it."""

    def __init__(self, place: Path | None = None, *, room: int | None = None) -> None:
        """Make it in `place`; None: $TMPDIR, or wherever Python puts temporary files.

        `room`: bytes that the paths of sockets below it need beyond its own; None: there are none. Where they would
        become too long it is made in /tmp instead.

        Raises:
            Unavailable: no directory can be made there; says where and why.
        """
        self.path, self.lock = _make(_short_enough(place or _default_place(), room))

    def close(self) -> None:
        """Remove it, and end the ownership. Again is a no-op."""
        if self.lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self.lock)
            self.lock = -1

    def keep(self, **folders: Path) -> Path | None:
        """Move folders with logs, each under its name, to a directory beside this one; None if all are empty.

        It stays; of all such directories the newest KEPT_LOGS do.
        """
        filled = {name: folder for name, folder in folders.items() if folder.is_dir() and any(folder.iterdir())}
        if not filled:
            return None
        kept = Path(tempfile.mkdtemp(prefix=KEPT_PREFIX, dir=self.path.parent))
        for name, folder in filled.items():
            shutil.move(folder.resolve(), kept / name)
        older = [path for path in self.path.parent.glob(f"{KEPT_PREFIX}*") if _is_ours(path) and path != kept]
        for path in sorted(older, key=_modified, reverse=True)[KEPT_LOGS - 1 :]:
            shutil.rmtree(path, ignore_errors=True)
        return kept

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _default_place() -> Path:
    try:
        return Path(tempfile.gettempdir()).absolute()
    except FileNotFoundError:
        raise Unavailable(
            "there is no directory for temporary files: set TMPDIR or coordinator.temp_dir to one that can be written"
        ) from None


def _short_enough(place: Path, room: int | None) -> Path:
    if room is None:
        return place
    name = 1 + len(PREFIX) + 8 + 1  # as mkdtemp makes it, with both slashes
    return SHORT_PLACE if len(os.fsencode(place)) + name + room > LONGEST_SOCKET_PATH else place


def _make(place: Path) -> tuple[Path, int]:
    """A new directory and the descriptor of its lock, held."""
    _sweep(place)
    try:
        while True:
            path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with contextlib.suppress(OSError):  # somebody sweeps at this very moment: it is his
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.write(lock, f"{os.getpid()}\n".encode())
                if (path / LOCK).exists():
                    return path, lock
            os.close(lock)
    except OSError as error:
        raise Unavailable(
            f"no temporary directory can be made in {place}: {error.strerror}; set TMPDIR or coordinator.temp_dir to "
            "a directory with a short path that can be written"
        ) from None


def _sweep(place: Path) -> None:
    """Remove the directories of dead owners. What cannot be removed stays."""
    for path in _directories(place):
        with contextlib.suppress(OSError):
            lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _directories(place: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from [path for path in place.glob(f"{PREFIX}*") if _is_ours(path)]


def _is_ours(path: Path) -> bool:
    """Whether this is a real directory of this user: others may put links into /tmp."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0

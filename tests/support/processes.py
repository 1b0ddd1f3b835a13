"""Looking at processes through /proc, so that tests can kill the right ones and see that none is left."""

import os
from pathlib import Path


def command_of(pid: int) -> str:
    """Command line or process title; empty when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def parents() -> dict[int, int]:
    """Pid -> parent pid of all live processes."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                found[int(entry.name)] = int(fields[1])
    return found


def descendants(pid: int) -> dict[int, str]:
    """Pid -> command of everything below a process."""
    above = parents()
    found: dict[int, str] = {}
    for candidate in above:
        walk = candidate
        while walk in above and walk != pid:
            walk = above[walk]
        if walk == pid and candidate != pid:
            found[candidate] = command_of(candidate)
    return found


def alive(pids: set[int]) -> dict[int, str]:
    """Those of the pids that still run, with their commands."""
    return {pid: command_of(pid) for pid in pids & parents().keys() if pid != os.getpid()}

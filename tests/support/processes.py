"""Looking at processes through /proc, so that tests can kill the right ones and see that none is left."""

import os
from pathlib import Path


def command_of(pid: int) -> str:
    """Command line or process title; empty when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def is_engine(command: str) -> bool:
    """Whether a command line is vLLM's engine process: by the title it gives itself, or what it is started as.

    On some starts it does not get its title. A short name has 15 characters.
    """
    return "EngineCor" in command or "multiprocessing.spawn" in command


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


def engines_below(pid: int) -> list[int]:
    """vLLM's engine processes of a process."""
    return sorted(below for below, command in descendants(pid).items() if is_engine(command))


def alive(pids: set[int]) -> dict[int, str]:
    """Those of the pids that still run, with their commands."""
    return {pid: command_of(pid) for pid in pids & parents().keys() if pid != os.getpid()}

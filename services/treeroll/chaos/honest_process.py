"""An honest client beside hostile ones: it submits, leases and acknowledges, and notes how long each call took."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import treeroll
from treeroll.demo import TASKS_FILE
from treeroll.errors import Drained
from treeroll.tasks import read_tasks

RUN = "honest"
SETTINGS = {"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 2, "scorer": "arith"}
TASKS, LEASE_S, WAIT_S, PAUSE_S = 2, 30.0, 1.0, 0.02
# Most calls are these, so that a few seconds have enough of them for a p99.
LOOKS = 20


def main(address: str, file: str) -> None:
    """Work until killed. `file` gets a line for each call that does not wait by design: when it ended, in seconds of
    the machine's monotonic clock, and its milliseconds."""
    tasks = read_tasks(TASKS_FILE, limit=TASKS)
    with Path(file).open("a", buffering=1) as out, treeroll.connect(address) as client:

        def timed(work: Callable[[], object]) -> None:
            began = time.perf_counter()
            work()
            out.write(f"{time.monotonic():.3f} {1000 * (time.perf_counter() - began):.3f}\n")

        run = client.create_run(RUN, **SETTINGS)
        for epoch in count(1):
            with suppress(Drained):  # by others, who may: it is taken back
                timed(partial(run.submit, tasks, epoch=epoch))
                for _ in range(LOOKS):
                    timed(run.status)
                batches = run.batches(TASKS, ack="manual", lease_s=LEASE_S, allow_empty=True, max_wait_s=WAIT_S)
                with batches:
                    timed(next(iter(batches)).ack)
            time.sleep(PAUSE_S)

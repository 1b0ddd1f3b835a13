"""One of several ranks; it notes its steps and their trees, and dies where it is told to, with a share in its hands.

python -m tests.support.rank ADDRESS RUN FILE RANK WORLD TREES DIES_IN SLEEP_S

FILE gets a line for every share that it has acknowledged. DIES_IN is a step, 0 for none; it sleeps so long in each.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import treeroll


def main(address: str, run_id: str, file: str, rank: str, world: str, trees: str, dies_in: str, sleep_s: str) -> None:
    """Take all shares; a line is written before its acknowledgement, and the last one of a step counts."""
    run = treeroll.connect(address).run(run_id)
    for batch in run.batches(int(trees), "ranks", rank=int(rank), world=int(world), ack="manual"):
        if batch.step == int(dies_in):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(sleep_s))
        line = {"step": batch.step, "trees": [tree.tree_id for tree in batch.trees], "of": batch.global_trees}
        with Path(file).open("a") as journal:
            journal.write(json.dumps(line) + "\n")
        batch.ack()


if __name__ == "__main__":
    main(*sys.argv[1:])

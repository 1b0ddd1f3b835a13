"""A trainer whose weights are the list of the trees it was trained on; it dies where it is told to.

python -m tests.support.trainer ADDRESS RUN FILE TREES POINT STEP

FILE is its checkpoint: weights, and the state of its batches. It begins from there, and dies in step STEP, counted in
this life from 1 on, at POINT: "trained", "acked", "saved", "unread" (with batches that were leased ahead), or "never".
"""

import json
import os
import signal
import sys
from pathlib import Path

import treeroll
from treeroll.whole_file import whole_file


def save(path: Path, weights: list[str], state: dict[str, object]) -> None:
    """Whole or not at all."""
    with whole_file(path) as unfinished:
        Path(unfinished).write_text(json.dumps({"weights": weights, "batches": state}))


def main(address: str, run_id: str, file: str, trees: str, point: str, step: str) -> None:
    """Train, acknowledge, save; for "saved", save before the acknowledgement."""
    path = Path(file)
    checkpoint = json.loads(path.read_text()) if path.exists() else {"weights": [], "batches": None}
    weights, unlucky = checkpoint["weights"], int(step)

    def reached(name: str, number: int) -> None:
        if (name, number) == (point, unlucky):
            os.kill(os.getpid(), signal.SIGKILL)

    run = treeroll.connect(address).run(run_id)
    batches = run.batches(
        int(trees), "trainer", lease_s=600.0, ack="manual", prefetch=point == "unread", state=checkpoint["batches"]
    )
    for number, batch in enumerate(batches, 1):
        weights += [tree.tree_id for tree in batch.trees]
        reached("trained", number)
        reached("unread", number)
        if point == "saved":
            save(path, weights, batches.state_dict(through=batch))
            reached("saved", number)
            batches.ack_through(batch)
        else:
            batch.ack()
            reached("acked", number)
            save(path, weights, batches.state_dict())
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

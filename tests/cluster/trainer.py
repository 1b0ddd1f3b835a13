"""A trainer that streams trees, one after another: `python -m tests.cluster.trainer ADDRESS TASKS LEAVES`.

It prints a line of JSON for each tree, and for each task that failed, when it comes.
"""

import json
import sys
import time

import treeroll
from treeroll.tasks import read_tasks


def main(address: str, tasks: str, leaves: str) -> None:
    """Have a tree of each task, whatever happens to the service meanwhile."""
    run = treeroll.connect(address).create_run("everything", recipe="treepo", leaves=int(leaves), scorer="arith")
    run.submit(list(read_tasks(tasks)))
    run.close()
    for batch in run.batches(trees=1, allow_empty=True):
        for task_id, status in [
            *((tree.task_id, tree.status) for tree in batch.trees),
            *((task.task_id, "failed") for task in batch.failures),
        ]:
            print(json.dumps({"at": time.time(), "task": task_id, "status": status}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

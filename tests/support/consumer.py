"""A trainer in a process of its own: leases trees, prints their task ids, and never acknowledges. Made to be killed.

python -m tests.support.consumer ADDRESS RUN GROUP TREES LEASE_S
"""

import sys

import treeroll


def main(address: str, run_id: str, group: str, trees: str, lease_s: str) -> None:
    """Hold one batch until the end comes."""
    batches = treeroll.connect(address).run(run_id).batches(trees=int(trees), group=group, lease_s=float(lease_s))
    batch = next(batches)
    print(*(tree.task_id for tree in batch.trees), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

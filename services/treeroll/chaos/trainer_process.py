"""A trainer of a world: leases trees, acknowledges them, and keeps a journal of both that outlives it."""

from pathlib import Path

import treeroll
from treeroll.chaos.journal import Journal, Told, rows_of
from treeroll.errors import LeaseLost


def main(address: str, run_id: str, group: str, trees: str, lease_s: str, file: str) -> None:
    """Consume until the group has everything."""
    with Journal(Path(file)) as journal, treeroll.connect(address) as client:
        batches = client.run(run_id).batches(int(trees), group, lease_s=float(lease_s), ack="manual", allow_empty=True)
        for batch in batches:
            for tree, delivery in zip(batch.trees, batch.deliveries, strict=True):
                rows, number = rows_of(tree), delivery.times_delivered
                journal.write(Told("delivered", [tree.tree_id], tree.task_id, rows, tree.ledger.spent, number))
            journal.write_all(Told("failed", [one.tree_id], one.task_id, why=one.error) for one in batch.failures)
            there = [tree.tree_id for tree in batch.trees] + [failure.tree_id for failure in batch.failures]
            try:
                batch.ack()
            except LeaseLost:  # of some, which come again; of which is not said in a way that a journal could use
                journal.write(Told("refused", there))
            else:
                journal.write(Told("acknowledged", there))
        journal.write(Told("done", []))

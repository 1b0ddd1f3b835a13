"""A trainer of a world: leases trees, acknowledges them, and keeps a log of both that outlives it."""

from pathlib import Path

import treeroll
from treeroll.chaos.trainer_log import Told, TrainerLog, rows_of
from treeroll.errors import LeaseLost


def main(address: str, run_id: str, group: str, trees: str, lease_s: str, file: str) -> None:
    """Consume until the group has everything."""
    with TrainerLog(Path(file)) as log, treeroll.connect(address) as client:
        batches = client.run(run_id).batches(int(trees), group, lease_s=float(lease_s), ack="manual", allow_empty=True)
        for batch in batches:
            for tree, delivery in zip(batch.trees, batch.deliveries, strict=True):
                rows, number = rows_of(tree), delivery.times_delivered
                log.write(Told("delivered", [tree.tree_id], tree.task_id, rows, tree.ledger.spent, number))
            log.write_all(Told("failed", [one.tree_id], one.task_id, why=one.error) for one in batch.failures)
            there = [tree.tree_id for tree in batch.trees] + [failure.tree_id for failure in batch.failures]
            try:
                batch.ack()
            except LeaseLost:  # of some, which come again; of which is not said in a way that a log could use
                log.write(Told("refused", there))
            else:
                log.write(Told("acknowledged", there))
        log.write(Told("done", []))

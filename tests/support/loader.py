"""A trainer with a DataLoader: its weights are the list of the trees it was trained on.

python -m tests.support.loader ADDRESS RUN FILE METHOD WORKERS STEPS

FILE is its checkpoint. It begins from there, saves after every step, trains one batch more without saving, and stops
after STEPS; 0: at the end. METHOD starts the workers.
"""

import json
import os
import sys
from pathlib import Path

from torch.utils.data import DataLoader

from treeroll.integrations.torch_data import TreeDataset


def main(address: str, run_id: str, file: str, method: str, workers: str, steps: str) -> None:
    """Train."""
    path = Path(file)
    checkpoint = json.loads(path.read_text()) if path.exists() else {"weights": []}
    dataset = TreeDataset(address, run_id, trees=2, group="loader")
    if "batches" in checkpoint:
        dataset.load_state_dict(checkpoint["batches"])
    weights = checkpoint["weights"]
    options = {"multiprocessing_context": method, "num_workers": int(workers)} if int(workers) else {}
    loader = DataLoader(dataset, batch_size=None, **options)  # type: ignore[arg-type]
    for step, batch in enumerate(loader, 1):
        weights += [tree.tree_id for tree in batch.trees]
        assert batch.to_torch()["loss_mask"].any()
        dataset.ack(batch)
        if step == int(steps):
            os._exit(9)  # dead, with batches in the queues
        path.write_text(json.dumps({"weights": weights, "batches": dataset.state_dict()}))
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

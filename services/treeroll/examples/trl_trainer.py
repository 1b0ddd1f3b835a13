"""The training of torch_trainer with TRL's GRPOTrainer: an example to copy.

    treeroll serve --model MODEL
    python -m treeroll.examples.trl_trainer --address localhost:7070 --model MODEL --out DIR

TRL has the loss, the optimizer and the checkpoints (DIR/checkpoint-N); the service grows the trees. All tasks are
submitted at once, and `ahead` keeps growth close to the weights. `--resume` goes on from the last checkpoint at the
same service, which hands out again what that was not trained on, and nothing else.

DIR/curve.csv has the rewards, DIR/journal.jsonl the tasks whose trees each step was made of.
"""

import argparse
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from trl import GRPOConfig

import treeroll
from treeroll.client.batch import Batch
from treeroll.demo import MODEL_DIR
from treeroll.demo.arithmetic import training_tasks
from treeroll.examples.torch_trainer import CURVE, SHAPE, append, held_out_reward
from treeroll.integrations.publisher import Publisher
from treeroll.integrations.trl import TreerollGRPOTrainer, last_checkpoint

RUN = "trl"  # its name, by which a life that resumes finds it
CHECKPOINT_EVERY = 2  # steps: trees that were trained on hold their places in `ahead` until then
AHEAD = CHECKPOINT_EVERY + 2  # batches: those, one to train on, and one that grows meanwhile


class Diary(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Notes what each step was made of, and now and then what the model has learned."""

    def __init__(self, client: treeroll.Client, out: Path, every: int) -> None:
        self.client, self.out, self.every = client, out, every
        self.trainer: TreerollGRPOTrainer
        self.started = time.monotonic()
        self.noted: tuple[Batch, ...] = ()
        self.tokens, self.rewards = 0, list[float]()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The curve begins with what the model can do already."""
        if self.every and not state.global_step:
            self.look(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A line of the journal, a sentence, and a row of the curve if it is time."""
        batches = [new for new in self.trainer.unacknowledged if all(new is not old for old in self.noted)]
        self.noted = self.trainer.unacknowledged
        trees = [tree for batch in batches for tree in (*batch.trees, *batch.failed_trees)]
        append(self.out / "journal.jsonl", json.dumps({"step": state.global_step, "tasks": [t.task_id for t in trees]}))
        self.tokens += sum(tree.ledger.spent for tree in trees)
        # Leaves of a tree are no fair sample; weighted by their paths they are.
        rewards = [s.path_weight * (s.reward or 0.0) for batch in batches for s in batch.samples]
        self.rewards.append(sum(rewards) / sum(len(batch.trees) for batch in batches))
        print(f"step {state.global_step}: reward {self.rewards[-1]:.3f}, {self.tokens:,} tokens", flush=True)
        if self.every and (state.global_step % self.every == 0 or state.global_step == state.max_steps):
            self.look(state.global_step)

    def look(self, step: int) -> None:
        """A row of the curve: see `held_out_reward`."""
        version, held_out = self.client.weights().version, held_out_reward(self.client)
        reward = sum(self.rewards) / len(self.rewards) if self.rewards else held_out
        self.rewards.clear()
        curve = self.out / "curve.csv"
        if not curve.exists():
            append(curve, CURVE)
        seconds = time.monotonic() - self.started
        append(curve, f"{step},{version},{seconds:.1f},{self.tokens},{reward:.4f},{held_out:.4f}")
        print(f"step {step}: held out {held_out:.3f}, {seconds:.0f} s", flush=True)


def train(options: argparse.Namespace) -> None:
    """Train until the steps are over, or the trees."""
    out = options.out.resolve()
    client = treeroll.connect(options.address)
    # Equal settings attach to the run that is there, and tasks that it has already change nothing.
    shape = SHAPE | {"scorer": options.scorer, "ahead": AHEAD * options.trees}
    run = client.create_run(RUN, recipe=options.recipe, leaves=options.leaves, **shape)
    run.submit(islice(training_tasks(), options.steps * options.trees))
    run.close()
    args = GRPOConfig(
        str(out), max_steps=options.steps, learning_rate=options.lr, save_steps=CHECKPOINT_EVERY, save_total_limit=2,
        lr_scheduler_type="constant", use_cpu=options.cpu, bf16=not options.cpu, gradient_checkpointing=False,
        report_to=[], disable_tqdm=True,
    )  # fmt: skip
    diary = Diary(client, out, options.evaluate_every)
    with run.batches(trees=options.trees, group="trainer", ack="manual") as batches:
        publisher = Publisher(run, out / "weights")
        trainer = TreerollGRPOTrainer(str(options.model), args, batches, publisher=publisher, callbacks=[diary])
        diary.trainer = trainer
        trainer.train(resume_from_checkpoint=last_checkpoint(out) if options.resume else None)


def main() -> None:
    """Train, or go on."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--address", default="localhost:7070", help="of the service")
    add("--model", type=Path, default=MODEL_DIR, help="what the service serves")
    add("--out", type=Path, required=True, help="folder that gets checkpoints, journal, curve and weights")
    add("--resume", action="store_true", help="go on from the last checkpoint in --out, at the same service")
    add("--recipe", default="treepo", help="how trees grow and what credit they get")
    add("--scorer", default="arith", help="how answers are rewarded")
    add("--trees", type=int, default=16, help="trees in a step")
    add("--leaves", type=int, default=16, help="samples of a tree")
    add("--lr", type=float, default=2e-4, help="learning rate of AdamW")
    add("--steps", type=int, default=20, help="end after so many")
    add("--evaluate-every", type=int, default=10, help="steps; 0: never")
    add("--cpu", action=argparse.BooleanOptionalAction, default=True, help="train on the CPU, in float32")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.resume != (last_checkpoint(options.out) is not None):
        parser.error("--resume is for a folder that has a checkpoint, and needed there")
    try:
        train(options)
    except KeyboardInterrupt:
        print("interrupted; --resume goes on from the last checkpoint")


if __name__ == "__main__":
    main()

"""A trainer in plain torch that learns from a running service: an example to copy.

    treeroll serve --model MODEL
    python -m treeroll.examples.torch_trainer --address localhost:7070 --model MODEL --out DIR

A step takes a batch of finished trees, moves the weights once along their policy gradient and publishes them; the next
trees grow meanwhile. DIR/curve.csv has the rewards, DIR/journal.jsonl the tasks whose trees each step was made of.

DIR/checkpoint.pt has weights, optimizer, and which trees those weights were trained on. `--resume` goes on from there:
the service hands out again what they were not trained on, and nothing else; one that was started anew, the tasks.
"""

import argparse
import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import uuid4

import torch
from transformers import AutoModelForCausalLM

import treeroll
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.demo.arithmetic import training_tasks
from treeroll.integrations import tree_attention
from treeroll.integrations.publisher import Publisher
from treeroll.whole_file import whole_file

SHAPE: dict[str, Any] = {"segment_tokens": 32, "max_depth": 8, "scorer": "arith"}  # completions of at most 256 tokens
HELD_OUT_SAMPLES = 2  # of each held-out task
AHEAD = 2  # batches of tasks that the service has at a time: one to train on, one that grows meanwhile
CLIP = 0.2  # how far the policy may be from the one that sampled, as a ratio, before a token teaches no more
CHECKPOINT_EVERY = 5  # steps
CURVE = "step,weight_version,seconds,engine_tokens,reward,held_out_reward"
PROGRESS = ("step", "taken", "tokens", "seconds", "rewards", "waiting")  # goes into the checkpoint as it is


class Trainer:
    """A model, its optimizer, and the run that feeds them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, options.out.resolve()
        self.client = treeroll.connect(options.address)
        tree_attention.register()
        self.model = AutoModelForCausalLM.from_pretrained(
            options.model, attn_implementation="treeroll", dtype=torch.float32
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=options.lr, betas=(0.9, 0.95), weight_decay=0)
        self.tasks: Iterator[dict[str, Any]] = training_tasks()
        self.step, self.taken, self.tokens, self.seconds = 0, 0, 0, 0.0
        self.rewards: list[float] = []  # of the steps since the curve's last row
        self.waiting: dict[str, Any] = {}  # tasks that were taken and not trained on, by id
        saved = self.restore() if options.resume else {}
        name, state = saved.get("run", ""), saved.get("batches")
        if name not in self.client.status().run_ids:  # nothing was begun, or not in this life of the service
            name, state = f"learn-{uuid4().hex[:8]}", None
            self.client.create_run(name, recipe=options.recipe, leaves=options.leaves, **SHAPE)
        self.run = self.client.run(name)
        self.run.submit(self.waiting.values())
        self.batches = self.run.batches(trees=options.trees, group="trainer", ack="manual", state=state)
        self.publisher = Publisher(self.run, self.out / "weights")

    def learn(self) -> None:
        """Train until the steps or the minutes are over."""
        started = time.monotonic() - self.seconds
        self.publish()
        while True:
            self.seconds = time.monotonic() - started
            last = self.step >= self.options.steps or self.seconds > 60 * self.options.minutes
            if self.options.evaluate_every and (last or self.step % self.options.evaluate_every == 0):
                self.evaluate()
            if last or self.step % CHECKPOINT_EVERY == 0:
                self.save()
            if last:
                return
            # Tasks that the service has already, from a life that was killed after its checkpoint, change nothing.
            self.run.submit(self.take(AHEAD * self.options.trees - len(self.waiting)))
            batch = next(self.batches)
            self.train(batch)
            self.note(batch)
            batch.ack()
            self.publish()

    def take(self, count: int) -> list[dict[str, Any]]:
        """The next tasks of the stream; none if the count is not above 0."""
        tasks = list(islice(self.tasks, max(0, count)))
        self.taken += len(tasks)
        self.waiting |= {task["id"]: task for task in tasks}
        return tasks

    def train(self, batch: Any) -> None:
        """One step along the clipped policy gradient (PPO's), the mean over all tokens that are trained on."""
        self.optimizer.zero_grad()
        rows = batch.to_packed()  # one per tree, which has every token once
        tokens = sum(float(row.loss_weights.sum()) for row in rows)
        for row in rows:
            if row.adv_pos.any() or row.adv_neg.any():  # the others, of equal rewards, have no gradient
                tree_attention.packed_loss(self.model, row, tokens, clip_low=CLIP, clip_high=CLIP).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1

    def note(self, batch: Any) -> None:
        """Put down what the step was made of."""
        trees = [*batch.trees, *batch.failed_trees]
        self.tokens += sum(tree.ledger.spent for tree in trees)
        for tree in trees:
            while tree.task_id not in self.waiting:  # submitted after the checkpoint by a life that was killed
                self.take(1)
            del self.waiting[tree.task_id]
        append(self.out / "journal.jsonl", json.dumps({"step": self.step, "tasks": [tree.task_id for tree in trees]}))
        # Leaves of a tree are no fair sample; weighted by their paths they are.
        self.rewards.append(sum(s.path_weight * (s.reward or 0.0) for s in batch.samples) / len(batch.trees))
        print(f"step {self.step}: reward {self.rewards[-1]:.3f}, {self.tokens:,} tokens", flush=True)

    def publish(self) -> None:
        """From here on the service decodes with these weights."""
        self.version = self.publisher.publish(self.model)

    def evaluate(self) -> None:
        """A row of the curve."""
        held_out = held_out_reward(self.client)
        reward = fmean(self.rewards or [held_out])
        self.rewards.clear()
        curve = self.out / "curve.csv"
        if not curve.exists():
            append(curve, CURVE)
        append(curve, f"{self.step},{self.version},{self.seconds:.1f},{self.tokens},{reward:.4f},{held_out:.4f}")
        print(f"step {self.step}: held out {held_out:.3f}, {self.seconds:.0f} s", flush=True)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "run": self.run.run_id}
        state |= {"batches": self.batches.state_dict()} | {name: getattr(self, name) for name in PROGRESS}
        with whole_file(self.out / "checkpoint.pt") as unfinished:
            torch.save(state, unfinished)

    def restore(self) -> dict[str, Any]:
        """Take up the checkpoint; returns it."""
        saved: dict[str, Any] = torch.load(self.out / "checkpoint.pt", weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        for name in PROGRESS:
            setattr(self, name, saved[name])
        next(islice(self.tasks, self.taken, self.taken), None)  # skips them
        return saved


def held_out_reward(client: treeroll.Client) -> float:
    """Mean reward of independent samples on tasks that nothing is trained on, by a run of their own."""
    run = client.create_run(f"held-out-{uuid4().hex[:8]}", recipe="flat", leaves=HELD_OUT_SAMPLES, **SHAPE)
    run.submit(treeroll.read_tasks(TASKS_FILE))
    run.close()
    reward = fmean(sample.reward or 0.0 for batch in run.batches() for sample in batch.samples)
    client.delete_run(run.run_id)
    return reward


def append(file: Path, line: str) -> None:
    """One write, so that a line is there whole or not at all if this process is killed."""
    with file.open("a") as lines:
        lines.write(line + "\n")


def main() -> None:
    """Train, until it is enough or Ctrl-C."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--address", default="localhost:7070", help="of the service")
    add("--model", type=Path, default=MODEL_DIR, help="what the service serves")
    add("--out", type=Path, required=True, help="folder that gets checkpoint, journal, curve and weights")
    add("--resume", action="store_true", help="go on from the checkpoint in --out")
    add("--recipe", default="treepo", help="how trees grow and what credit they get")
    add("--trees", type=int, default=16, help="trees in a step")
    add("--leaves", type=int, default=8, help="samples of a tree")
    add("--lr", type=float, default=1e-4, help="learning rate of AdamW")
    add("--steps", type=int, default=1000, help="end after so many")
    add("--minutes", type=float, default=15, help="end by then, evaluations included")
    add("--evaluate-every", type=int, default=20, help="steps; 0: never")
    options = parser.parse_args()
    if options.resume != (options.out / "checkpoint.pt").exists():
        parser.error("--resume is for a folder that has a checkpoint, and needed there")
    try:
        Trainer(options).learn()
    except KeyboardInterrupt:
        print("interrupted; --resume goes on from the last checkpoint")


if __name__ == "__main__":
    main()

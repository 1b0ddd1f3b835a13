"""Training of a demo model: next-token prediction on freshly drawn worked solutions.

The loss is on what the model writes: not on the prompt, nor on what a tool answered.
"""

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from treeroll.demo.arithmetic import LEVELS, ONE_STEP, Level, training_example
from treeroll.tools.base import Tool

from .rows import IGNORED, Row, make_row
from .teacher import erring_example
from .tokenizer import EOS_ID, PAD_ID, VOCAB_SIZE, save_tokenizer
from .tool_calls import Piece, training_example_with_calls

MAX_LENGTH = 1024
POOL_BATCHES = 8  # batches drawn at once and sorted by length, so that little is spent on padding
EASY_FIRST = 0.2  # share of the run over which harder levels come in
ONE_STEP_SHARE = 0.3
WARM_UP_STEPS = 100
REPORT_EVERY = 50
# The last levels are long, and meant to stay out of reach: little time goes there.
LEVEL_WEIGHTS = (4, 4, 4, 4, 4, 4, 4, 3, 2, 1)
HEAD_SIZE = 32  # the smallest that vLLM's attention takes on a CPU


def new_model(hidden_size: int, layers: int, vocab_size: int = VOCAB_SIZE) -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=hidden_size // HEAD_SIZE,
        num_key_value_heads=hidden_size // HEAD_SIZE,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=EOS_ID,
        pad_token_id=PAD_ID,
        dtype="float32",
    )
    return Qwen2ForCausalLM(config)


def save_model(model: Qwen2ForCausalLM, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, eos_token_id=EOS_ID, pad_token_id=PAD_ID
    )
    model.save_pretrained(folder)
    save_tokenizer(folder, MAX_LENGTH)
    for file in folder.iterdir():
        file.chmod(0o644)  # weights are written readable by their owner only: no good in an image or a package


def pick_level(progress: float, rng: random.Random) -> Level:
    """The easy levels first; all of them once EASY_FIRST of the run is over."""
    if rng.random() < ONE_STEP_SHARE:
        return rng.choice(ONE_STEP)
    reached = min(len(LEVELS), 3 + int(len(LEVELS) * progress / EASY_FIRST))
    return LEVELS[rng.choices(range(1, reached + 1), LEVEL_WEIGHTS[:reached])[0]]


def make_batch(rows: list[Row]) -> tuple[Tensor, Tensor]:
    """Right-padded inputs and labels. Labels are not shifted: the model does that."""
    width = max(len(ids) for ids, _ in rows)
    inputs = torch.full((len(rows), width), PAD_ID)
    labels = torch.full((len(rows), width), IGNORED)
    for row, (ids, row_labels) in enumerate(rows):
        inputs[row, : len(ids)] = torch.tensor(ids)
        labels[row, : len(ids)] = torch.tensor(row_labels)
    return inputs, labels


def draw_row(tool: Tool | None, errs: float, hardness: float, rng: random.Random) -> Row:
    level = pick_level(hardness, rng)
    if tool is not None:
        return make_row(*training_example_with_calls(level, tool, rng))
    prompt, solution = erring_example(level, errs, rng) if errs else training_example(level, rng)
    return make_row(prompt, [Piece(solution)])


def batches(
    batch_size: int, tool: Tool | None, errs: float, rng: random.Random, hardness: Callable[[], float]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Without end; ``hardness`` (0 to 1) is asked now and then how far the curriculum has come."""
    while True:
        pool = [draw_row(tool, errs, hardness(), rng) for _ in range(POOL_BATCHES * batch_size)]
        pool.sort(key=lambda row: len(row[0]))
        order = list(range(POOL_BATCHES))
        rng.shuffle(order)
        for index in order:
            yield make_batch(pool[index * batch_size : (index + 1) * batch_size])


def learning_rate_factor(step: int, progress: float) -> float:
    """A short linear warm-up, and a cosine to zero over the run."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made nearly orthogonal (Jordan et al., 2024), for the weight matrices.

    Chosen because it usually needs fewer steps than AdamW; the two were not compared here. Written out because torch's
    own does the iteration in bfloat16, slow on most CPUs.
    """

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state[param]
                momentum = state.setdefault("momentum", torch.zeros_like(param))
                momentum.lerp_(param.grad, 1 - group["momentum"])
                update = orthogonal(param.grad.lerp(momentum, group["momentum"]))
                scale = max(1.0, param.shape[0] / param.shape[1]) ** 0.5
                param.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Moves the singular values of a matrix towards one, by a Newton-Schulz iteration."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


def make_optimizers(model: Qwen2ForCausalLM, matrix_lr: float, other_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices; AdamW for embeddings, biases and norms, where orthogonality means nothing."""
    matrices = [param for name, param in model.named_parameters() if param.ndim == 2 and "embed" not in name]
    chosen = {id(param) for param in matrices}
    others = [param for param in model.parameters() if id(param) not in chosen]
    return [
        Muon(matrices, lr=matrix_lr),
        torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


@dataclass(frozen=True)
class Plan:
    """One training run. It ends, annealed, after so many steps or minutes, whichever comes first."""

    steps: int
    minutes: float
    batch_size: int
    seed: int
    matrix_lr: float
    other_lr: float
    checkpoint_every: int
    hidden_size: int
    layers: int
    start_from: Path | None = None  # a model to go on with, all levels at once; None: from scratch, easy levels first
    tool: Tool | None = None  # that the solutions call
    errs: float = 0.0  # chance that a step of a solution is wrong; without a tool


def train(out: Path, plan: Plan) -> None:
    """Writes the model folder now and then, and at the end."""
    torch.manual_seed(plan.seed)
    fresh = plan.start_from is None
    model = new_model(plan.hidden_size, plan.layers) if fresh else Qwen2ForCausalLM.from_pretrained(plan.start_from)
    print(f"parameters: {sum(param.numel() for param in model.parameters()):,}", flush=True)
    optimizers = make_optimizers(model, plan.matrix_lr, plan.other_lr)
    base_rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    started, progress, recent, tokens = time.monotonic(), 0.0, 0.0, 0
    model.train()
    data = batches(plan.batch_size, plan.tool, plan.errs, random.Random(plan.seed), lambda: progress if fresh else 1.0)
    for step, (inputs, labels) in enumerate(data):
        for optimizer, base in zip(optimizers, base_rates, strict=True):
            optimizer.param_groups[0]["lr"] = base * learning_rate_factor(step, progress)
            optimizer.zero_grad()
        loss = model(input_ids=inputs, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()

        recent += loss.item()
        tokens += inputs.numel()
        done, elapsed = step + 1, time.monotonic() - started
        progress = max(done / plan.steps, elapsed / (60 * plan.minutes))
        if done % REPORT_EVERY == 0:
            print(
                f"step {done}  {progress:.0%}  loss {recent / REPORT_EVERY:.4f}  {tokens / elapsed:,.0f} tokens/s  "
                f"{elapsed:.0f} s, about {elapsed / progress * (1 - progress):.0f} s left",
                flush=True,
            )
            recent = 0.0
        if done % plan.checkpoint_every == 0 or progress >= 1:
            save_model(model, out)
        if progress >= 1:
            return

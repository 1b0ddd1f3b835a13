"""How often a demo model is right: many samples a task at temperature 1, and a table by difficulty."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from treeroll.tools.base import Tool

from .completion import Completion
from .tokenizer import EOS_ID, PAD_ID, decode, encode

MAX_NEW_TOKENS = 320
COMPACT_EVERY = 8  # finished rows leave the batch this often; each time copies the cache
BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


@dataclass(frozen=True)
class TaskResult:
    difficulty: int
    right: int
    samples: int
    tokens: int  # of all its completions together, observations and end-of-text included
    calls: int  # of a tool, in all its completions together


def is_right(completion: Sequence[int], answer: str) -> bool:
    """Right means: ended by itself, and the last box holds the answer."""
    boxes = BOXED.findall(decode(completion))
    return bool(completion) and completion[-1] == EOS_ID and bool(boxes) and boxes[-1] == answer


def left_padded(prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    width = max(map(len, prompts))
    ids = torch.tensor([[PAD_ID] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask


@torch.inference_mode()
def sample(
    model: PreTrainedModel, prompts: Sequence[list[int]], tool: Tool | None = None, max_new: int = MAX_NEW_TOKENS
) -> list[Completion]:
    """One completion for each prompt, at temperature 1 and top_p 1, with a KV cache. Calls of the tool are answered."""
    completions = [Completion() for _ in prompts]
    rows = torch.arange(len(prompts))  # which completion each row of the batch is
    ids, mask = left_padded(prompts)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    alive = torch.ones(len(prompts), dtype=torch.bool)
    cache = DynamicCache(config=model.config)
    for count in range(max_new):
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache).logits
        chosen = torch.multinomial(logits[:, -1].softmax(-1), 1)
        for at, (row, token, live) in enumerate(zip(rows.tolist(), chosen[:, 0].tolist(), alive.tolist(), strict=True)):
            if live:
                chosen[at, 0] = completions[row].append(token, tool)
        alive = alive & (chosen[:, 0] != EOS_ID)
        if not alive.any():
            break
        ids, positions = chosen, positions[:, -1:] + 1
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        if count % COMPACT_EVERY == COMPACT_EVERY - 1 and not alive.all():
            keep = alive.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            ids, positions, mask, rows, alive = ids[keep], positions[keep], mask[keep], rows[keep], alive[keep]
    return completions


def evaluate(
    model: PreTrainedModel,
    tasks: Sequence[dict[str, str | int]],
    samples: int,
    seed: int,
    tool: Tool | None = None,
    batch_tasks: int = 20,
) -> list[TaskResult]:
    """Samples every task; tasks of like length share a batch."""
    torch.manual_seed(seed)
    model.eval()
    results = []
    for start in range(0, len(tasks), batch_tasks):
        chunk = tasks[start : start + batch_tasks]
        prompts = [encode(str(task["prompt"])) for task in chunk for _ in range(samples)]
        completions = sample(model, prompts, tool)
        for index, task in enumerate(chunk):
            mine = completions[index * samples : (index + 1) * samples]
            right = sum(is_right(completion.ids, str(task["answer"])) for completion in mine)
            tokens = sum(len(completion.ids) for completion in mine)
            calls = sum(completion.calls for completion in mine)
            results.append(TaskResult(int(task["difficulty"]), right, samples, tokens, calls))
    return results


def table_row(name: str, results: Sequence[TaskResult]) -> str:
    always = sum(result.right == result.samples for result in results)
    never = sum(result.right == 0 for result in results)
    drawn = sum(result.samples for result in results)
    mean = sum(result.right for result in results) / drawn
    tokens = sum(result.tokens for result in results) / drawn
    calls = sum(result.calls for result in results) / drawn
    sometimes = len(results) - always - never
    solved = f"{name:>10} {len(results):>6} {always:>7} {sometimes:>10} {never:>6}"
    return f"{solved} {mean:>13.2f} {tokens:>12.0f} {calls:>11.1f}"


def table(results: Sequence[TaskResult]) -> str:
    """Tasks solved in all samples, in some, in none; means of success, completion length in tokens and tool calls."""
    groups: dict[int, list[TaskResult]] = defaultdict(list)
    for result in results:
        groups[result.difficulty].append(result)
    lines = ["difficulty  tasks  always  sometimes  never  mean success  mean tokens  mean calls"]
    lines += [table_row(str(difficulty), groups[difficulty]) for difficulty in sorted(groups)]
    return "\n".join([*lines, table_row("total", results)])

"""What a generation benchmark samples from: the same prompts for every variant of a round, new ones in each round."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.policy.base import Limits
from treeroll.tasks import Task, read_tasks
from treeroll.tokenizer import Tokenizer

Kind = Literal["fixed", "tasks"]

# Prompts of the fixed workload are this much shorter or longer than asked for.
LENGTH_SPREAD = 0.25
# Low ids are special tokens in most vocabularies; ids above those of the tokenizer have no text.
FIRST_TOKEN, LAST_TOKEN = 5, 95


@dataclass(frozen=True, slots=True)
class Workload:
    """Prompts, and the shape of what is grown from each."""

    kind: Kind
    """fixed: random prompts, every path runs to its last segment. tasks: the demo tasks, paths end by themselves."""
    prompts: int
    prompt_tokens: int
    """Mean length; the tasks have their own."""
    limits: Limits
    tokenizer: Tokenizer
    block_size: int

    def tasks(self, round_: int, variant: str) -> list[Task]:
        """Prompts of one round. Variants get equal lengths but, where prompts are random, tokens of their own: two that
        share an engine must not find each other's prompts in its cache."""
        if self.kind == "tasks":
            return self._demo_tasks(round_)
        sizes = random.Random(f"lengths {round_}")  # noqa: S311 - a workload, not a secret
        tokens = random.Random(f"tokens {round_} {variant}")  # noqa: S311
        return [
            Task(id=f"p{index}", prompt_ids=[tokens.randint(FIRST_TOKEN, LAST_TOKEN) for _ in range(self._size(sizes))])
            for index in range(self.prompts)
        ]

    def _size(self, sizes: random.Random) -> int:
        """A length that no engine likes: never a whole number of KV blocks."""
        low, high = (max(2, round(self.prompt_tokens * (1 + sign * LENGTH_SPREAD))) for sign in (-1, 1))
        size = sizes.randint(low, high)
        return size + 1 if size % self.block_size == 0 else size

    def _demo_tasks(self, round_: int) -> list[Task]:
        """The next of the shipped tasks; from the beginning again when they are used up."""
        known = list(read_tasks(TASKS_FILE))
        chosen = [known[(round_ * self.prompts + index) % len(known)] for index in range(self.prompts)]
        return [
            Task(id=f"p{index}", prompt_ids=self.tokenizer.encode_text(task.prompt or ""))
            for index, task in enumerate(chosen)
        ]

    def check(self) -> None:
        """InvalidInput if a path does not fit into the model's context."""
        longest = self.limits.max_tokens + max(len(_ids(task)) for task in self.tasks(0, ""))
        if longest > self.tokenizer.max_model_len:
            raise InvalidInput(
                f"a prompt and {self.limits.max_depth} segments of {self.limits.segment_tokens} tokens make {longest},"
                f" the model's context is {self.tokenizer.max_model_len}; lower --max-depth, --segment-tokens or"
                " --prompt-tokens, raise --blocks, or take --model tiny"
            )


def _ids(task: Task) -> Sequence[int]:
    return task.prompt_ids or ()

"""A second family of tasks, small but open: pick numbers whose sum lies in a range, with a written plan.

Several answers are right, and a completion has some 220 tokens. The first half of it is determined: the task again, the
numbers in order, what the smaller ones come to. Then numbers are taken or skipped one by one, the total is checked and
mended by up to two moves, so what is decided is decided late. That is where trees have something to share, unlike the
texts of ``treeroll.demo``, whose model is nearly certain of every token.

The model (about half a million parameters, Qwen2 architecture, tokens of its own) was trained by
``scripts/train_subset_sum_model`` on solutions of a teacher that errs; the tasks are held out of its training by a
rule. Scorer ``subset`` knows what is right.
"""

from pathlib import Path

# Hugging Face layout: weights (float16, to be computed with in float32), configuration, tokenizer.
MODEL_DIR = Path(__file__).parent / "model"
TASKS_FILE = Path(__file__).parent / "tasks.jsonl"  # a JSON object a line: id, prompt, numbers, low, high, difficulty

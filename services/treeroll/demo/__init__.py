"""The demo model and its tasks, shipped so that a first run needs no download and no GPU.

The model (under a million parameters, Qwen2 architecture, character tokens) was trained by
``scripts/train_demo_model`` to solve chains of sums, differences and products by writing the steps. The tasks are
graded, and held out of its training by a rule. Sampled at temperature 1 it solves some always, some never and most
now and then; ``scripts/train_demo_model --evaluate-only`` prints how many.
"""

from pathlib import Path

MODEL_DIR = Path(__file__).parent / "model"  # Hugging Face layout: weights, configuration, tokenizer
TASKS_FILE = Path(__file__).parent / "tasks.jsonl"  # one JSON object a line: id, prompt, answer, difficulty

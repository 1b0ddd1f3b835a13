"""Demo models and their tasks, shipped so that a first run needs no download and no GPU.

The models (under a million parameters each, Qwen2 architecture, character tokens) were trained by
``scripts/train_demo_model`` to solve chains of sums, differences and products by writing the steps. One of them calls
the calculator of ``treeroll.tools`` for most of the steps; one was trained on to imitate a teacher that errs, so that
there is something to learn from rewards: a quarter of its samples are right. The tasks are graded, and held out of the
training of all by a rule. Sampled at temperature 1 a model solves some always, some never and most now and then;
``scripts/train_demo_model --evaluate-only`` prints how many.
"""

from pathlib import Path

# Hugging Face layout: weights, configuration, tokenizer.
MODEL_DIR = Path(__file__).parent / "model"
ERRING_MODEL_DIR = Path(__file__).parent / "erring_model"  # for trainers to begin with; same tokenizer
TOOL_MODEL_DIR = Path(__file__).parent / "tool_model"  # writes calls of the tool "calculator"; same tokenizer
TASKS_FILE = Path(__file__).parent / "tasks.jsonl"  # one JSON object a line: id, prompt, answer, difficulty

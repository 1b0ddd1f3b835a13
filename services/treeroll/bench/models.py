"""Models to measure: a directory, or a named architecture with random weights, so that nothing has to be downloaded."""

import json
import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput

# Qwen2 throughout: what the demo model is, and what a 7B model of that family is.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 100,
        "tie_word_embeddings": True,
        "max_position_embeddings": 32768,
        "rope_theta": 10000.0,
        "dtype": "float32",
    },
    "0.5b": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "max_position_embeddings": 32768,
        "rope_theta": 1000000.0,
        "dtype": "bfloat16",
    },
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
        "max_position_embeddings": 32768,
        "rope_theta": 1000000.0,
        "dtype": "bfloat16",
    },
}
COMMON: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-06,
    "use_sliding_window": False,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
# A safetensors file of no tensors: the length of its header, and an empty one.
NO_WEIGHTS = (2).to_bytes(8, "little") + b"{}"


class Model(NamedTuple):
    """What a generator needs to know of a model."""

    path: Path
    load_format: Literal["auto", "dummy"]


def find_model(name: str, folder: Path) -> Model:
    """The model of this directory or architecture; the latter is written to `folder`. InvalidInput if it is neither."""
    if name in ARCHITECTURES:
        return write_dummy(name, folder)
    if not Path(name).is_dir():
        raise InvalidInput(f"--model {name} is no directory, and none of {', '.join(ARCHITECTURES)}")
    return Model(Path(name), "auto")


def write_dummy(name: str, folder: Path) -> Model:
    """A model directory of this architecture: configuration, the demo model's character tokenizer, and no weights."""
    (folder / "config.json").write_text(json.dumps(COMMON | ARCHITECTURES[name], indent=1))
    (folder / "model.safetensors").write_bytes(NO_WEIGHTS)  # a model directory has one
    for file in TOKENIZER_FILES:
        shutil.copy(MODEL_DIR / file, folder / file)
    return Model(folder, "dummy")

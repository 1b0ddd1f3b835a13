"""Models to measure: a directory, or a named architecture with random weights, so that nothing has to be downloaded."""

import json
import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput

# Longest context of a named architecture, in tokens; shorter where the KV cache has no room for one such path.
CONTEXT = 32768

# Qwen2 throughout: what the demo model is, and what a 7B model of that family is. Of random weights all tokens are
# equally likely, so samples that end by themselves have `vocab_size` tokens on average, and a long tail.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 100,
        "tie_word_embeddings": True,
        "rope_theta": 10000.0,
        "dtype": "float32",
    },
    "25m": {
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 256,
        "tie_word_embeddings": True,
        "rope_theta": 10000.0,
        "dtype": "bfloat16",
    },
    "0.5b": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
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


def find_model(name: str, folder: Path, context: int = CONTEXT) -> Model:
    """The demo model, an architecture, which is written to `folder`, or a directory. InvalidInput if it is none.

    `context` is that of an architecture, in tokens.
    """
    if name == "demo":
        return Model(MODEL_DIR, "auto")
    if name in ARCHITECTURES:
        return write_dummy(name, folder, context)
    if not Path(name).is_dir():
        raise InvalidInput(f"--model {name} is no directory, and none of demo, {', '.join(ARCHITECTURES)}")
    return Model(Path(name), "auto")


def context_of(blocks: int | None, block_size: int) -> int:
    """Longest path that these KV blocks can hold, in tokens; vLLM keeps one of them empty. None: as many as needed."""
    return CONTEXT if blocks is None else min(CONTEXT, (blocks - 1) * block_size)


def write_dummy(name: str, folder: Path, context: int) -> Model:
    """A model directory of this architecture: configuration, the demo model's character tokenizer, and no weights."""
    config = COMMON | ARCHITECTURES[name] | {"max_position_embeddings": context}
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "model.safetensors").write_bytes(NO_WEIGHTS)  # a model directory has one
    for file in TOKENIZER_FILES:
        shutil.copy(MODEL_DIR / file, folder / file)
    return Model(folder, "dummy")

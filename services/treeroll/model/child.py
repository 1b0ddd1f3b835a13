"""What transformers makes of a model directory, as one line of JSON: `python child.py DIRECTORY`.

A process of its own, which imports nothing of ours: AutoTokenizer loads torch if it finds it, which takes four times as
long as the rest together, and a service that only encodes needs neither.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

# In the order of vLLM: https://github.com/vllm-project/vllm/blob/main/vllm/transformers_utils/model_arch_config_convertor.py
CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# Of these alone the stated positions are those before scaling; others state what they have after it.
SCALED_ROPE = ("linear", "dynamic")
# Texts that tokenizers of one vocabulary read differently if anything else about them differs.
PROBES = (
    "a",
    "Hello world",
    " leading and trailing ",
    "two  spaces,\ttabs\n\nand\r\nlines\n",
    "It's 12345 + 67.8 = 12412.8; f(x)=x**2",
    "    def f(x):\n        return x  # indented",
    "naïve café, Ⅷ ﬁne, Straße, ½",
    "完了しました。 학교 привет मानक",
    "🎉👩\u200d👩\u200d👧 ∠ABC = 90°",
)
MOST_ADDED_PROBES = 256


class Refused(Exception):
    """The directory has no tokenizer that could be used; the message says why."""


def facts(model_dir: str) -> dict[str, Any]:
    """Tokenizer and sizes of the model."""
    auto = _auto_tokenizer(model_dir)
    fast = _fast_tokenizer(auto, model_dir)
    text = _text_config(model_dir)
    named = {name: getattr(auto, f"{name}_token_id", None) for name in ("bos", "eos", "pad")}
    return {
        "tokenizer": fast.to_str(),
        "tokenizer_class": type(auto).__name__,
        "split_special_tokens": bool(getattr(auto, "split_special_tokens", False)),
        "special_tokens": {name: str(token) for name, token in auto.special_tokens_map.items()},
        **{f"{name}_id": value if isinstance(value, int) else None for name, value in named.items()},
        "context": _context(text),
        "vocab_size": _whole(text.get("vocab_size")),
    }


def _auto_tokenizer(model_dir: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model_dir, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers and what it calls raise many types
        raise Refused(f"transformers cannot load it: {error}") from None


def _fast_tokenizer(auto: Any, model_dir: str) -> Any:
    """A tokenizer of the `tokenizers` library that gives the ids of `auto`. Refused if there is none."""
    import tokenizers

    fast, remedy = getattr(auto, "backend_tokenizer", None), "save the tokenizer again with transformers"
    if not isinstance(fast, tokenizers.Tokenizer):
        fast = tokenizers.Tokenizer.from_file(os.path.join(model_dir, "tokenizer.json"))
        remedy = "if it reads another file (tekken.json, tokenizer.model), move that out of the directory"
    fast.no_truncation()
    fast.no_padding()
    # Sampled sub-words are for training.
    for name in ("dropout", "alpha", "nbest_size"):
        if getattr(fast.model, name, None) is not None:
            setattr(fast.model, name, None)
    fast.encode_special_tokens = bool(getattr(auto, "split_special_tokens", False))
    added = [token.content for token in fast.get_added_tokens_decoder().values()][:MOST_ADDED_PROBES]
    for text in (*PROBES, *(f"a{token}b {token} " for token in added)):
        for special in (False, True):
            ours = list(fast.encode(text, add_special_tokens=special).ids)
            theirs = list(auto.encode(text, add_special_tokens=special))
            if ours != theirs:
                reader = f"transformers' {type(auto).__name__}"
                raise Refused(f"{text!r} is {theirs} to {reader} and {ours} to tokenizer.json; {remedy}")
    return fast


def _text_config(model_dir: str) -> dict[str, Any]:
    """The configuration of what writes text, with the defaults of its class; without one, as it is written."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model_dir, local_files_only=True, trust_remote_code=False).get_text_config()
    except Exception:  # an architecture that transformers does not know may still be one that an engine knows
        raw = json.loads(Path(model_dir, "config.json").read_text(encoding="utf-8"))
        return dict(next((raw[key] for key in ("text_config", "llm_config", "language_config") if key in raw), raw))
    # Attributes, not to_dict(): families keep these under names of their own, which the class maps.
    names = (*CONTEXT_KEYS, "vocab_size", "rope_parameters", "model_type")
    return {name: getattr(config, name, None) for name in names}


def _context(text: dict[str, Any]) -> int | None:
    """Most positions of the model, as vLLM derives them; None if its configuration does not say."""
    said = [value for key in CONTEXT_KEYS if (value := _whole(text.get(key))) is not None]
    if not said:
        return None
    longest = _whole(text.get("model_max_length")) or min(said)
    if "gemma3" in str(text.get("model_type")):
        return longest  # states them after scaling, whatever the scaling
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    for layer in [value for value in rope.values() if isinstance(value, dict)] or [rope]:
        if layer.get("rope_type") in SCALED_ROPE:
            return int(longest * (layer.get("factor") or 1.0))
    return longest


def _whole(value: Any) -> int | None:
    """A count, None for what is none."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**31 else None


def main(model_dir: str) -> None:
    """Print the facts, or {"refused": why}."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is not for our reader
    for name in ("torch", "torchvision", "torchaudio"):
        sys.modules[name] = None  # type: ignore[assignment]  # not found, so not loaded
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")
    try:
        answer = facts(model_dir)
    except Refused as refused:
        answer = {"refused": " ".join(str(refused).split())}
    json.dump(answer, told)
    told.close()


if __name__ == "__main__":
    main(sys.argv[1])

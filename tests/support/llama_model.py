"""A model of another family than the demo's, made at test time: Llama, random weights, a tokenizer of sentence pieces.

As Llama 2, Mistral or Phi-3 ship theirs: bytes stand in for what the vocabulary lacks, a space is put before texts, the
file has the old normalizer where transformers' class has Metaspace, BOS goes before any text, there is a chat template,
and generation_config.json names an end of turn beside the end of text.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = (
    "The answer is 42. Compute 3+5 and 12*7, then say so.",
    "Once upon a time there was a tree whose branches never waited for each other.",
    "Let us think step by step: first the sum, then the product.",
)
SPECIAL = ("<|user|>", "<|assistant|>", "<|end|>")
THINK = ("<think>", "</think>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
UNK, BOS, EOS = 0, 1, 2
HIDDEN, LAYERS, HEADS, KV_HEADS, INNER = 64, 2, 2, 1, 128


def make_llama(folder: Path, *, weights: bool = True, thinking: bool = True) -> Path:
    """A model directory of less than a megabyte; without `weights` nothing could decode."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(thinking)
    tokenizer.save(str(folder / "tokenizer.json"))
    end_of_turn = tokenizer.token_to_id("<|end|>")
    rows = tokenizer.get_vocab_size()
    _write(folder / "tokenizer_config.json", {
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "pad_token": "<unk>", "clean_up_tokenization_spaces": False, "legacy": False, "model_max_length": 512,
    })  # fmt: skip
    _write(folder / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": rows, "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HIDDEN // HEADS, "max_position_embeddings": 512,
        "dtype": "float32", "hidden_act": "silu", "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
        "bos_token_id": BOS, "eos_token_id": EOS,
    })  # fmt: skip
    _write(folder / "generation_config.json", {"bos_token_id": BOS, "eos_token_id": [EOS, end_of_turn]})
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    if weights:
        save_file(_weights(rows), str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None takes one out."""
    values = {**(json.loads(path.read_text()) if path.exists() else {}), **changes}
    _write(path, {key: value for key, value in values.items() if value is not None})


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values))


def _tokenizer(thinking: bool) -> Tokenizer:
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    alphabet = [chr(code) for code in range(33, 127)]
    learner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=260, initial_alphabet=alphabet))
    learned = json.loads(learner.to_str())["model"]
    words = sorted(learned["vocab"], key=learned["vocab"].get)
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    merges = [tuple(merge) for merge in learned["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)]
    )
    added = ["<unk>", "<s>", "</s>", *SPECIAL, *(THINK if thinking else ())]
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in added])
    return tokenizer


def _weights(rows: int) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0)

    def matrix(*shape: int) -> np.ndarray:
        return (noise.standard_normal(shape) * 0.02).astype(np.float32)

    ones, heads = np.ones(HIDDEN, np.float32), HIDDEN // HEADS
    weights = {"model.embed_tokens.weight": matrix(rows, HIDDEN), "model.norm.weight": ones}
    weights["lm_head.weight"] = matrix(rows, HIDDEN)
    for layer in range(LAYERS):
        for name, shape in {
            "self_attn.q_proj": (HIDDEN, HIDDEN),
            "self_attn.k_proj": (KV_HEADS * heads, HIDDEN),
            "self_attn.v_proj": (KV_HEADS * heads, HIDDEN),
            "self_attn.o_proj": (HIDDEN, HIDDEN),
            "mlp.gate_proj": (INNER, HIDDEN),
            "mlp.up_proj": (INNER, HIDDEN),
            "mlp.down_proj": (HIDDEN, INNER),
        }.items():
            weights[f"model.layers.{layer}.{name}.weight"] = matrix(*shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"model.layers.{layer}.{name}.weight"] = ones
    return weights

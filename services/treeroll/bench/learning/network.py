"""A small Qwen2 in plain torch, float32: the same weights for sampling, for gradients and for training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from treeroll.errors import InvalidInput
from treeroll.model.facts import read_json

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Attention of one layer: its number, queries, keys and values [rows, heads, tokens, head size] -> as queries."""


class Network:
    """Weights by their names in the checkpoint, and what is computed with them."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """`config` is config.json's. InvalidInput if the model is no Qwen2 with full attention."""
        if config.get("model_type") != "qwen2" or config.get("use_sliding_window"):
            raise InvalidInput(
                f"the model is a {config.get('model_type')}; this bench computes Qwen2 alone, in full attention"
            )
        self.layers = int(config["num_hidden_layers"])
        self.heads = int(config["num_attention_heads"])
        self.head_size = int(config["hidden_size"]) // self.heads
        self.longest = int(config["max_position_embeddings"])
        self._groups = self.heads // int(config["num_key_value_heads"])
        self._eps = float(config["rms_norm_eps"])
        self.weights = {name: weights[name].float().clone() for name in sorted(weights)}
        theta = (config.get("rope_parameters") or config).get("rope_theta", 10000.0)
        steps = torch.arange(0, self.head_size, 2).float() / self.head_size
        angles = torch.outer(torch.arange(self.longest).float(), 1.0 / float(theta) ** steps)
        self._cos, self._sin = (torch.cat([part, part], -1) for part in (angles.cos(), angles.sin()))

    @classmethod
    def load(cls, model_dir: Path) -> "Network":
        """From a model directory with one safetensors file."""
        from safetensors.torch import load_file

        return cls(read_json(model_dir / "config.json"), load_file(model_dir / "model.safetensors"))

    @property
    def size(self) -> int:
        """Parameters in all."""
        return sum(weight.numel() for weight in self.weights.values())

    def logits(self, ids: Tensor) -> Tensor:
        """[rows, tokens] -> [rows, tokens, vocabulary]. Pad on the right: nothing looks there."""

        def causal(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

        return self.compute(ids, torch.arange(ids.shape[1]).expand_as(ids), causal)

    def compute(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Logits of tokens at these positions, both [rows, tokens], whatever the attention is to."""
        hidden = F.embedding(ids, self.weights["model.embed_tokens.weight"])
        cos, sin = self._cos[positions][:, None], self._sin[positions][:, None]
        for layer in range(self.layers):
            hidden = self._layer(layer, hidden, cos, sin, attend)
        head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        return F.linear(self._norm(hidden, "model.norm.weight"), head)

    def _layer(self, layer: int, hidden: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        weights, at = self.weights, f"model.layers.{layer}."
        normed = self._norm(hidden, f"{at}input_layernorm.weight")
        q, k, v = (self._projected(normed, f"{at}self_attn.{name}_proj") for name in "qkv")
        q, k = (part * cos + _turned(part) * sin for part in (q, k))
        if self._groups > 1:
            k, v = (part.repeat_interleave(self._groups, 1) for part in (k, v))
        seen = attend(layer, q, k, v).transpose(1, 2).flatten(2)
        hidden = hidden + F.linear(seen, weights[f"{at}self_attn.o_proj.weight"])
        normed = self._norm(hidden, f"{at}post_attention_layernorm.weight")
        gate = F.silu(F.linear(normed, weights[f"{at}mlp.gate_proj.weight"]))
        up = F.linear(normed, weights[f"{at}mlp.up_proj.weight"])
        return hidden + F.linear(gate * up, weights[f"{at}mlp.down_proj.weight"])

    def _projected(self, normed: Tensor, name: str) -> Tensor:
        found = F.linear(normed, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])
        return found.unflatten(2, (-1, self.head_size)).transpose(1, 2)

    def _norm(self, hidden: Tensor, name: str) -> Tensor:
        return hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self._eps) * self.weights[name]


def _turned(part: Tensor) -> Tensor:
    """Both halves of each head's dimensions exchanged, one negated: what rotary positions add with the sine."""
    one, two = part.chunk(2, -1)
    return torch.cat([-two, one], -1)

"""Batched decoding with a KV cache in rows: a row is a sequence, and a fork copies one."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from treeroll.bench.learning.network import Network

PREFILL_TOKENS = 8192  # in one batch


class Decoder:
    """Keys and values of `rows` sequences of `length` tokens at most. Rows in use are the first ones."""

    def __init__(self, network: Network, rows: int, length: int) -> None:
        self._network = network
        shape = (network.layers, rows, network.heads, length, network.head_size)
        self._keys, self._values = torch.zeros(shape), torch.zeros(shape)
        self._rows = torch.arange(rows)

    def copy(self, source: int, target: int, tokens: int) -> None:
        """The first tokens of one row into another."""
        for cache in (self._keys, self._values):
            cache[:, target, :, :tokens] = cache[:, source, :, :tokens]

    def fill(self, prefixes: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Compute rows anew: (row, its tokens), at least one token each."""
        waiting = sorted(prefixes, key=lambda item: len(item[1]))
        while waiting:
            longest = len(waiting[-1][1])
            part = waiting[-max(1, PREFILL_TOKENS // longest) :]
            del waiting[-len(part) :]
            with torch.inference_mode():
                self._fill(part, longest)

    def _fill(self, part: Sequence[tuple[int, Sequence[int]]], longest: int) -> None:
        ids = torch.zeros(len(part), longest, dtype=torch.long)
        for place, (_, tokens) in enumerate(part):
            ids[place, : len(tokens)] = torch.tensor(tokens)
        rows = torch.tensor([row for row, _ in part])

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self._keys[layer, rows, :, :longest] = k
            self._values[layer, rows, :, :longest] = v
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

        self._network.compute(ids, torch.arange(longest).expand_as(ids), attend)

    def step(self, last: Tensor, lengths: Tensor) -> Tensor:
        """One token for each row in use: its newest token and how many are in its cache -> logits [rows, vocabulary].

        The newest token is in the cache afterwards.
        """
        count, longest = len(last), int(lengths.max()) + 1
        seen = (torch.arange(longest)[None] <= lengths[:, None])[:, None, None]
        rows = self._rows[:count]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self._keys[layer], self._values[layer]
            keys[rows, :, lengths] = k[:, :, 0]
            values[rows, :, lengths] = v[:, :, 0]
            return F.scaled_dot_product_attention(
                q, keys[:count, :, :longest], values[:count, :, :longest], attn_mask=seen
            )

        with torch.inference_mode():
            return self._network.compute(last[:, None], lengths[:, None], attend)[:, 0]

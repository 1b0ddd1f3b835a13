"""What TRL's asynchronous trainer has for GPUs only, for a CPU: attention over a row's segments, and peak FLOPS."""

from types import SimpleNamespace
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from trl.experimental.async_grpo import async_grpo_trainer, packing


def attention_of_segments(q: Any, k: Any, v: Any, cu_q: Any, cu_k: Any, *_: Any, softmax_scale: Any, **__: Any) -> Any:
    """As flash_attn_varlen_func, causal: [N, heads, size], and for every segment the keys of its path."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    out = []
    for a, b, c, d in zip(cu_q[:-1], cu_q[1:], cu_k[:-1], cu_k[1:], strict=True):
        n, m = int(b - a), int(d - c)
        sees = torch.arange(m)[None] <= torch.arange(n)[:, None] + (m - n)
        part = [x.transpose(0, 1) for x in (q[a:b], k[c:d], v[c:d])]
        out.append(scaled_dot_product_attention(*part, attn_mask=sees, scale=softmax_scale).transpose(0, 1))
    return torch.cat(out)


def on_cpu(monkeypatch: Any) -> None:
    """Until the test ends."""
    kernels = SimpleNamespace(flash_attn_varlen_func=attention_of_segments)
    monkeypatch.setattr(packing, "_flash_attn", lambda: kernels)
    monkeypatch.setattr(async_grpo_trainer, "get_peak_flops_per_device", lambda *_: None)

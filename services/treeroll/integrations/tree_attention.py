"""Packed rows through models of transformers: attention along a tree, and the loss that goes with it.

    register()
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="treeroll")
    rows = batch.to_packed()
    tokens = sum(int(row.count.sum()) for row in rows)
    for row in rows:
        packed_loss(model, row, tokens).backward()

Needs torch and transformers. How a row's tokens see each other is chosen by the model's attention implementation:

- "treeroll": one call of torch's `scaled_dot_product_attention` per segment, with the keys of its path.
  No mask over the row: what pays on a CPU. Everything else that the model does runs as with "sdpa".
- "sdpa": a mask of [N, N], which costs N^2 in memory and time.
- "flex_attention": a block mask for torch's FlexAttention, which has a backward pass on GPUs only.
"""

import inspect
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from treeroll.client.packed import PackedRow
from treeroll.errors import InvalidInput

NAME = "treeroll"


class Reach(NamedTuple):
    """What a segment's tokens attend to."""

    tokens: slice
    path: torch.Tensor
    """[M] int64; places of the keys."""
    mask: torch.Tensor | None
    """[tokens, M] bool; None where the path is all their own, which is causal."""


def register() -> None:
    """Make "treeroll" an `attn_implementation` of transformers. Again is no error."""
    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    reaches: list[Reach] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one packed row, [1, heads, N, size]; that of "sdpa" for whatever comes without `reaches`.

    InvalidInput for layers of a kind that it would compute wrongly.
    """
    if reaches is None:
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
    asked = {name: others.get(name) for name in ("sliding_window", "s_aux", "softcap", "position_bias")}
    if wrong := [name for name, setting in {"dropout": dropout or None, **asked}.items() if setting is not None]:
        raise InvalidInput(f"layer {type(module).__name__} asks for {wrong[0]}, which attention along a tree has not")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    outputs = [
        scaled_dot_product_attention(
            query[:, :, reach.tokens],
            key.index_select(2, reach.path),
            value.index_select(2, reach.path),
            attn_mask=reach.mask,
            is_causal=reach.mask is None,
            scale=scaling,
        )
        for reach in reaches
    ]
    return torch.cat(outputs, 2).transpose(1, 2), None


def reaches_of(row: PackedRow, device: torch.device) -> list[Reach]:
    """What every segment of the row attends to."""
    found = []
    for start, end, path in row.segments():
        before = len(path) - (end - start)
        own = torch.arange(end - start, device=device)
        mask = torch.arange(len(path), device=device)[None] <= own[:, None] + before if before else None
        found.append(Reach(slice(start, end), torch.from_numpy(path).to(device), mask))
    return found


def block_mask(row: PackedRow, device: torch.device) -> Any:
    """The row's mask for `torch.nn.attention.flex_attention`; backward on GPUs only."""
    from torch.nn.attention.flex_attention import create_block_mask

    tin, tout = torch.from_numpy(row.tin).to(device), torch.from_numpy(row.tout).to(device)

    def sees(_batch: Any, _head: Any, q: Any, k: Any) -> Any:
        return (tin[k] <= tin[q]) & (tin[q] < tout[k]) & (k <= q)

    return create_block_mask(sees, None, None, len(row), len(row), device=device.type)


def check_model(model: Any) -> None:
    """InvalidInput, naming the reason, for a model whose packed rows would not have the gradients of padded ones."""
    if reason := _unfit(model):
        raise InvalidInput(f"{type(model).__name__} cannot train on packed rows: {reason}; train on to_torch() instead")


def packed_logps(model: Any, row: PackedRow) -> torch.Tensor:
    """[T] float; logprobs, under the model, of the tokens that are trained on (`row.count` above 0), in their order.

    Logits are divided by the row's temperatures, as those of `sampling_per_token_logps` were. InvalidInput as from
    `check_model`, and for another attention implementation than the three of this module.
    """
    check_model(model)
    device = model.device
    trained = torch.from_numpy(row.count.nonzero()[0]).to(device)
    predictor, own = torch.from_numpy(row.predictor).to(device)[trained].unique(return_inverse=True)
    logits = model(
        input_ids=torch.from_numpy(row.input_ids).to(device)[None],
        position_ids=torch.from_numpy(row.position_ids).to(device)[None],
        logits_to_keep=predictor,
        use_cache=False,
        **_attention(model, row, device),
    ).logits[0, own]
    logits = logits / torch.from_numpy(row.temperature).to(device)[trained, None]
    targets = torch.from_numpy(row.input_ids).to(device)[trained, None]
    return logits.log_softmax(-1).gather(-1, targets)[:, 0]


def packed_loss(
    model: Any,
    row: PackedRow,
    denominator: float,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    old_logps: torch.Tensor | None = None,
) -> torch.Tensor:
    """The row's part of the clipped policy loss: -sum over samples and tokens of weight * min(r A, clip(r) A).

    r is the ratio to the policy that sampled, or to `old_logps`, [T] as from `packed_logps`, clipped to 1 - clip_low ..
    1 + clip_high. `denominator` is the batch's, over all rows and ranks, for gradients to add up: for a mean over
    tokens the sum of `row.loss_weights`.
    """
    logps = packed_logps(model, row)
    trained = row.count > 0
    if old_logps is None:
        old_logps = torch.from_numpy(row.sampling_per_token_logps[trained]).to(logps.device)
    ratio = (logps - old_logps).exp()
    adv_pos, adv_neg = (torch.from_numpy(each[trained]).to(logps.device) for each in (row.adv_pos, row.adv_neg))
    return -(adv_pos * ratio.clamp(max=1 + clip_high) + adv_neg * ratio.clamp(min=1 - clip_low)).sum() / denominator


def sample_means(row: PackedRow, values: torch.Tensor) -> torch.Tensor:
    """[B]; for each sample of the row, the mean of `values`, [T], over the tokens that are trained on.

    GSPO's ratio of a sequence is `sample_means(row, logps - old_logps).exp()`.
    """
    device, trained = values.device, row.count > 0
    segment = torch.from_numpy(row.tin[trained]).to(device, torch.int64)
    both = torch.stack([values, torch.ones_like(values)])
    by_segment = values.new_zeros(2, len(row.segment_parent)).index_add(1, segment, both)
    members = torch.from_numpy(row.sample_segments).to(device, torch.int64)
    lengths = torch.from_numpy(row.sample_offsets).to(device, torch.int64).diff()
    sample = torch.arange(len(lengths), device=device).repeat_interleave(lengths)
    sums, counts = values.new_zeros(2, len(lengths)).index_add(1, sample, by_segment[:, members])
    return sums / counts


def _attention(model: Any, row: PackedRow, device: torch.device) -> dict[str, Any]:
    """What the model's attention has to be told."""
    kind = model.config._attn_implementation
    if kind == NAME:
        # A mask of four dimensions is handed on as it is: none of the row's is made, and this one is not looked at.
        unread = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
        return {"attention_mask": unread, "reaches": reaches_of(row, device)}
    if kind == "sdpa":
        return {"attention_mask": torch.from_numpy(row.dense_mask()).to(device)[None, None]}
    if kind == "flex_attention":
        return {"attention_mask": block_mask(row, device)}
    raise InvalidInput(
        f"attention implementation {kind!r} cannot follow a tree: load the model with attn_implementation={NAME!r}, "
        "after treeroll.integrations.tree_attention.register(), or with 'sdpa' or 'flex_attention'"
    )


def _unfit(model: Any) -> str | None:
    """Why packed rows would be computed wrongly by the model, without an error."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if others := sorted(kinds - {"full_attention"}):
        return f"it has layers of type {', '.join(others)}"
    if getattr(model, "_is_stateful", False):
        return "it has recurrent layers"
    if not kinds and getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return f"its attention has a sliding window of {config.sliding_window}"
    if any(name.rpartition(".")[2] == "sinks" for name, _ in model.named_parameters()):
        return "its attention has sinks"
    if getattr(config, "attn_logit_softcapping", None):
        return "its attention caps logits"
    if getattr(config, "is_encoder_decoder", False):
        return "it has an encoder"
    if not model._supports_attention_backend:
        return "its attention is its own, not one of transformers' attention interface"
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return "it takes no position_ids"
    if model.training and (rate := _dropout(model, config)):
        return f"it trains with dropout ({rate:g}), and a token that samples share is computed once (set it to 0)"
    return None


def _dropout(model: Any, config: Any) -> float:
    rates = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    return float(max([*rates, getattr(config, "attention_dropout", 0.0) or 0.0]))

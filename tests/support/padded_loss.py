"""The clipped policy loss over padded tensors, sample by sample as it is defined, to check packed rows against."""

from typing import Any

import torch

Tensors = dict[str, torch.Tensor]


def padded_logps(model: Any, tensors: Tensors) -> torch.Tensor:
    """[B, C]; logprobs of completion tokens, logits divided by their temperatures."""
    width = tensors["prompt_ids"].shape[1]
    logits = model(
        input_ids=torch.cat([tensors["prompt_ids"], tensors["completion_ids"]], 1),
        attention_mask=tensors["attention_mask"],
        position_ids=tensors["position_ids"],
        use_cache=False,
    ).logits[:, width - 1 : -1]
    logits = logits / tensors["temperatures"][:, :, None]
    return logits.log_softmax(-1).gather(-1, tensors["completion_ids"][:, :, None])[:, :, 0]


def padded_loss(model: Any, tensors: Tensors, denominator: float, low: float = 0.2, high: float = 0.2) -> torch.Tensor:
    """-sum of loss_mask * loss_weights * min(r A, clip(r) A) over the denominator."""
    ratio = (padded_logps(model, tensors) - tensors["old_per_token_logps"]).exp()
    advantages = tensors["advantages"]
    terms = torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
    return -(terms * tensors["loss_weights"] * tensors["loss_mask"]).sum() / denominator


def gradients(model: Any) -> torch.Tensor:
    """All of the model's, one after the other, in float64; they are cleared."""
    found = torch.cat([parameter.grad.flatten().double() for parameter in model.parameters()])
    model.zero_grad()
    return found


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference, relative to the largest gradient."""
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-30))

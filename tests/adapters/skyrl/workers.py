"""A model on a CPU in the place of SkyRL's workers, which need GPUs. Losses are SkyRL's own."""

from types import SimpleNamespace
from typing import Any

import torch
from skyrl.backends.skyrl_train.utils.ppo_utils import PolicyLossRegistry
from transformers import AutoModelForCausalLM, AutoTokenizer


class Workers:
    """What RayPPOTrainer calls of its `dispatch`. Keeps what the loss was given, and the gradients of the last step."""

    def __init__(self, cfg: Any, path: str) -> None:
        self._algorithm = cfg.trainer.algorithm
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.given: list[Any] = []
        self.gradients: list[dict[str, torch.Tensor]] = []

    def logprobs(self, data: Any) -> torch.Tensor:
        """Of responses, which end where rows end. [B, R]."""
        mask, ids = data["attention_mask"], data["sequences"]
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = self.model(ids, attention_mask=mask, position_ids=positions).logits[:, :-1].log_softmax(-1)
        picked = logits.gather(-1, ids[:, 1:, None])[..., 0]
        return picked[:, -data.metadata["response_length"] :]

    def forward_from_staged(self, _: str, data: Any) -> Any:
        with torch.no_grad():
            rows = self.logprobs(data).tolist()
        return SimpleNamespace(loss_fn_outputs=[{"logprobs": row} for row in rows])

    def stage_data(self, _: str, data: Any, boundaries: Any) -> list[Any]:
        return [data[begin:end] for begin, end in boundaries]

    def forward_backward_from_staged(self, _: str, data: Any) -> Any:
        self.given.append(data)
        loss, metrics = PolicyLossRegistry.get(self._algorithm.policy_loss_type)(
            self.logprobs(data),
            data["action_log_probs"],
            data["advantages"],
            config=self._algorithm,
            loss_mask=data["loss_mask"],
            rollout_logprobs=data["rollout_logprobs"],
        )
        loss.backward()
        return SimpleNamespace(metrics={"policy_loss": float(loss.detach()), **metrics})

    def optim_step(self, _: str) -> float:
        self.gradients.append({name: weights.grad.clone() for name, weights in self.model.named_parameters()})
        with torch.no_grad():
            for weights in self.model.parameters():
                weights -= 0.1 * weights.grad
                weights.grad = None
        return 0.0

    def save_hf_model(self, _: str, folder: str, tokenizer: Any) -> None:
        self.model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def get_lcm_dp_size(self) -> int:
        return 1

    def get_timing_metrics(self) -> dict[str, float]:
        return {}

    async def save_weights_for_sampler(self) -> None: ...

    def init_weight_sync_state(self, _: Any) -> None: ...

    def empty_cache(self, *_: Any) -> None: ...

    def finalize_pending_saves(self, _: str) -> None: ...

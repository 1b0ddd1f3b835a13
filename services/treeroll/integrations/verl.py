"""verl (https://github.com/volcengine/verl): batches as DataProto, and an agent loop manager that asks a service.

verl's estimators see rewards, and an estimator sees neither trees nor our credit. So advantages travel as the rewards
of tokens (`rm_scores`), and the estimator "treeroll", registered here, hands them on. `algorithm.use_kl_in_reward` must
be off: it would subtract from them.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from verl import DataProto
from verl.trainer.ppo.core_algos import register_adv_est

from treeroll.client.client import connect
from treeroll.client.training import Training
from treeroll.errors import InvalidInput
from treeroll.integrations.prompted import as_asked, repeated, rows_for
from treeroll.integrations.rows import Row, check_temperature

ESTIMATOR = "treeroll"
"""For `algorithm.adv_estimator`."""


def advantages_as_rewards(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns: what `data_proto` put where rewards are, [B, R] each."""
    advantages = token_level_rewards * response_mask
    return advantages, advantages


register_adv_est(ESTIMATOR)(advantages_as_rewards)


def data_proto(
    rows: Sequence[Row | None],
    *,
    uids: Sequence[str] | None = None,
    prompt_length: int | None = None,
    response_length: int | None = None,
    pad_id: int = 0,
) -> DataProto:
    """Rows as verl's batch. B rows, P longest prompt, R longest response.

    Args:
        rows: As `treeroll.integrations.rows.rows_of` makes them; None for a row that is not trained on.
        uids: Names of the groups; the tree ids unless given.
        prompt_length: P, as verl's setting of that name; the longest prompt unless given.
        response_length: R, likewise.
        pad_id: Token id on padding.

    Returns:
        prompts [B, P] left-padded, responses, response_mask and rollout_log_probs [B, R] right-padded; input_ids,
        attention_mask and position_ids [B, P + R]; rm_scores [B, R], which are advantages times loss weights; beside
        them uid, reward, `__num_turns__`, and the weight versions as min_global_steps and max_global_steps.

    Raises:
        InvalidInput: A row that is longer than the lengths given, by name.
    """
    prompts = _left([[pad_id] if row is None else row.prompt_ids for row in rows], pad_id, prompt_length, rows)
    responses = _right([[pad_id] if row is None else row.completion_ids for row in rows], pad_id, response_length, rows)
    width = responses.shape[1]
    real = _right([[1] if row is None else [1] * len(row.completion_ids) for row in rows], 0, width, rows)
    prompt_real = _left([[1] if row is None else [1] * len(row.prompt_ids) for row in rows], 0, prompts.shape[1], rows)
    attention_mask = torch.cat([prompt_real, real], 1)
    none = np.zeros(1, np.float32)
    tensors = {
        "prompts": prompts,
        "responses": responses,
        "response_mask": _right([none if row is None else row.loss_mask for row in rows], 0, width, rows),
        "input_ids": torch.cat([prompts, responses], 1),
        "attention_mask": attention_mask,
        "position_ids": (attention_mask.cumsum(1) - 1).clamp(min=0),
        "rollout_log_probs": _right([none if row is None else row.sample.logprobs for row in rows], 0.0, width, rows),
        "rm_scores": _right([none if row is None else row.folded for row in rows], 0.0, width, rows),
    }
    samples = [None if row is None else row.sample for row in rows]
    beside: dict[str, list[Any]] = {
        "uid": [s.tree_id if s else "" for s in samples] if uids is None else list(uids),
        "reward": [float("nan") if s is None or s.reward is None else s.reward for s in samples],
        "min_global_steps": [s.min_weight_version if s else None for s in samples],
        "max_global_steps": [s.max_weight_version if s else None for s in samples],
        "multi_modal_inputs": [{} for _ in samples],
    }
    arrays = {name: _objects(values) for name, values in beside.items()}
    arrays["reward"] = arrays["reward"].astype(np.float64)
    arrays["__num_turns__"] = np.full(len(rows), 2, np.int32)
    return DataProto.from_dict(tensors=tensors, non_tensors=arrays, meta_info={"reward_extra_keys": ["reward"]})


class TreerollManager:
    """What verl's trainer asks for rollouts, in place of its own agent loops and engines.

        actor_rollout_ref.rollout.agent.agent_loop_manager_class=treeroll.integrations.verl.TreerollManager
        algorithm.adv_estimator=treeroll  +treeroll.address=localhost:7070  +treeroll.run=math

    The run must have as many leaves as `rollout.n`, and its temperature. Prompts go to the run as tasks: `raw_prompt`,
    with the answer from `reward_model.ground_truth` and the rest as fields of the task; the run scores them.
    """

    def __init__(self, config: Any, **_: Any) -> None:
        """Connect. InvalidInput if the settings do not name a run, or do not go with trees."""
        if "treeroll" not in config or not {"address", "run"} <= set(config.treeroll):
            raise InvalidInput("say where the trees grow: +treeroll.address=HOST:PORT +treeroll.run=RUN")
        if config.algorithm.get("use_kl_in_reward"):
            raise InvalidInput("algorithm.use_kl_in_reward would subtract from advantages: switch it off")
        self._rollout = config.actor_rollout_ref.rollout
        self._run = connect(config.treeroll.address).run(config.treeroll.run)
        self._training = Training()

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> "TreerollManager":
        """As verl's own manager is made; clients of engines and of reward workers are not needed."""
        config = args[0] if args else kwargs.pop("config")
        return cls(config)

    def generate_sequences(self, prompts: DataProto) -> DataProto:
        """Completions of the prompts, each of which comes as often as completions are wanted of it, in their order."""
        began = time.monotonic()
        columns = prompts.non_tensor_batch
        uids = [str(uid) for uid in columns["uid"]]
        first = {uid: place for place, uid in reversed(list(enumerate(uids)))}
        order, count = repeated(uids)
        tasks = [_task(uid, {name: column[first[uid]] for name, column in columns.items()}) for uid in order]
        found = as_asked(uids, rows_for(self._run, tasks, count, self._training))
        check_temperature([row.sample for row in found if row], self._rollout.temperature, "verl")
        batch = data_proto(
            found,
            uids=uids,
            prompt_length=self._rollout.prompt_length,
            response_length=self._rollout.response_length,
        )
        batch.meta_info["timing"] = {"agent_loop/generate_sequences/max": time.monotonic() - began}
        return batch


def _task(uid: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    task: dict[str, Any] = {"id": uid, "messages": [dict(message) for message in columns["raw_prompt"]]}
    if "reward_model" in columns:
        task["answer"] = columns["reward_model"]["ground_truth"]
    return task | {name: columns[name] for name in ("data_source", "extra_info") if name in columns}


def _right(rows: Sequence[Any], fill: float, width: int | None, of: Sequence[Row | None]) -> torch.Tensor:
    width = _width(rows, width, of)
    return torch.stack(
        [torch.nn.functional.pad(torch.as_tensor(np.array(row)), (0, width - len(row)), value=fill) for row in rows]
    )


def _left(rows: Sequence[Any], fill: float, width: int | None, of: Sequence[Row | None]) -> torch.Tensor:
    width = _width(rows, width, of)
    return torch.stack(
        [torch.nn.functional.pad(torch.as_tensor(np.array(row)), (width - len(row), 0), value=fill) for row in rows]
    )


def _width(rows: Sequence[Any], width: int | None, of: Sequence[Row | None]) -> int:
    longest = max(map(len, rows))
    if width is None:
        return longest
    if longest > width:
        row = next(row for part, row in zip(rows, of, strict=True) if len(part) == longest and row)
        raise InvalidInput(
            f"sample {row.sample.sample_id} has a prompt or response of {longest} tokens, and verl's length for it is "
            f"{width}: raise prompt_length or response_length, or lower the run's max_tokens"
        )
    return width


def _objects(values: Sequence[Any]) -> Any:
    array = np.empty(len(values), object)
    array[:] = values
    return array

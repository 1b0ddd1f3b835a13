"""SkyRL (https://github.com/NovaSky-AI/SkyRL): a generator that asks a service, and a callback that publishes weights.

SkyRL's estimators see rewards, and an estimator sees neither trees nor our credit. So advantages travel as the rewards
of tokens, and the estimator "treeroll", registered here, hands them on. In evaluations rewards are rewards.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from skyrl.backends.skyrl_train.utils.ppo_utils import register_advantage_estimator
from skyrl.train.config import SkyRLTrainConfig
from skyrl.train.generators.base import TRAINING_PHASE_EVAL, GeneratorInput, GeneratorInterface, GeneratorOutput
from skyrl.train.generators.utils import get_rollout_metrics
from skyrl.train.utils.callbacks import CallbackInput, TrainingCallback, TrainingControl

from treeroll.checks import check_whole
from treeroll.client import connect, connect_async
from treeroll.client.batch import AsyncBatch
from treeroll.client.training import Training
from treeroll.errors import InvalidInput
from treeroll.integrations.prompted import as_asked, called_anew, for_each, repeated
from treeroll.integrations.publisher import Publisher
from treeroll.integrations.rows import Row, check_temperature, rows_of, trains
from treeroll.records.fields import Sample

ESTIMATOR = "treeroll"
"""For `trainer.algorithm.advantage_estimator`."""

log = logging.getLogger(__name__)


def rewards_as_advantages(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns: what the generator put where rewards are, [B, R] each."""
    advantages = token_level_rewards * response_mask
    return advantages, advantages


register_advantage_estimator(ESTIMATOR)(rewards_as_advantages)


class TreerollGenerator(GeneratorInterface):  # type: ignore[misc]  # SkyRL is not typed
    """What SkyRL's trainers ask for rollouts, for `BasePPOExp.get_generator`.

    Prompts go to a run as tasks: their messages, with the answer from the column `reward_spec` and the other columns as
    fields of the task. The run's scorer scores them; SkyRL's environments are not asked.
    """

    def __init__(
        self,
        cfg: SkyRLTrainConfig,
        address: str,
        run: str,
        *,
        evaluation: str | None = None,
        token: str | None = None,
        training: Training | None = None,
    ) -> None:
        """Look the runs up.

        Args:
            cfg: SkyRL's settings.
            address: HOST:PORT of the service.
            run: Name of the run that trees to train on grow in. It must have as many leaves as
                `generator.n_samples_per_prompt`, and `generator.sampling_params.temperature`.
            evaluation: Name of the run for evaluations, with `generator.eval_n_samples_per_prompt` leaves and the
                sampling that they want; None if there are none.
            token: As for `treeroll.connect`.
            training: What to train on, as in `Batch.to_numpy`.

        Raises:
            InvalidInput: Settings that do not go with trees, by name.
            UnknownRun: There is no such run.
        """
        _check(cfg, evaluation is not None)
        self._address, self._token, self._training = address, token, training or Training()
        self._run, self._evaluation = run, evaluation
        with connect(address, token=token) as client:
            for name in (run, evaluation):
                if name is not None:
                    client.run(name)

    async def generate(self, input_batch: GeneratorInput) -> GeneratorOutput:
        """Completions of the prompts, each of which comes as often as completions are wanted of it, in their order.

        Where a tree has too few samples, or failed, rows that are not trained on make up; `treeroll/made_up_rows`
        counts them. In evaluations these, and samples that nobody scored, have reward 0 and are counted as
        `treeroll/unscored_rows`.
        """
        metadata, names = input_batch["batch_metadata"], _names(input_batch)
        evaluates = metadata is not None and metadata.training_phase == TRAINING_PHASE_EVAL
        run = self._evaluation if evaluates else self._run
        if run is None:
            raise InvalidInput("SkyRL evaluates, and there is no run for that: give TreerollGenerator evaluation=RUN")
        order, count = repeated(names)
        asked = called_anew([_task(input_batch, names.index(name)) for name in order])
        batch = await self._grown(run, asked)
        if evaluates:
            scored = ((sample.task_id, sample) for sample in batch.samples)
            return _evaluated(as_asked(names, for_each(asked, count, scored)), input_batch)
        check_temperature(batch.samples, (input_batch["sampling_params"] or {}).get("temperature", 1.0), "SkyRL")
        rows = rows_of(batch.samples, **self._training) if trains(batch.samples) else []
        trained = ((row.sample.task_id, row) for row in rows)
        return _trained(as_asked(names, for_each(asked, count, trained)), input_batch)

    async def _grown(self, run: str, tasks: list[dict[str, Any]]) -> AsyncBatch:
        # A connection of its own: one belongs to the event loop that it was made in, and a generator to none.
        async with await connect_async(self._address, token=self._token) as client:
            batch = await (await client.run(run)).generate(tasks)
        if batch.failures:
            first, count = batch.failures[0], len(batch.failures)
            log.warning(
                "%d of %d prompts have no samples; the first, '%s': %s", count, len(tasks), first.task_id, first.error
            )
        return batch


class PublishWeights(TrainingCallback):  # type: ignore[misc]  # SkyRL is not typed
    """Publishes the policy after every `every` steps, and before the first if the service has others than SkyRL."""

    def __init__(self, publisher: Publisher, every: int = 1) -> None:
        """The publisher's folder must be writable where SkyRL's workers are."""
        check_whole("every", every, 1)
        self._publisher, self._every = publisher, every

    def on_train_start(self, trainer: Any, callback_input: CallbackInput, control: TrainingControl) -> None:
        """After a checkpoint was loaded, if one was."""
        if callback_input.global_step or self._publisher.version:
            self._publish(trainer)

    def on_step_end(self, trainer: Any, callback_input: CallbackInput, control: TrainingControl) -> None:
        """Before the next step's prompts are asked."""
        if callback_input.global_step % self._every == 0:
            self._publish(trainer)

    def _publish(self, trainer: Any) -> None:
        self._publisher.publish_written(
            lambda folder: trainer.dispatch.save_hf_model("policy", str(folder), trainer.tokenizer)
        )


def _check(cfg: SkyRLTrainConfig, evaluates: bool) -> None:
    algorithm = cfg.trainer.algorithm
    if algorithm.advantage_estimator != ESTIMATOR:
        raise InvalidInput(
            f"trainer.algorithm.advantage_estimator={algorithm.advantage_estimator} would take advantages for rewards: "
            f"say {ESTIMATOR}"
        )
    refused = {
        "trainer.algorithm.use_kl_in_reward": (algorithm.use_kl_in_reward, "it would subtract from advantages"),
        "trainer.algorithm.advantage_batch_normalize": (
            algorithm.advantage_batch_normalize,
            "it would shift the advantages of trees; training={'whiten': True} does it over tokens that are trained on",
        ),
        "trainer.algorithm.zero_variance_filter": (
            algorithm.zero_variance_filter,
            "it reads rewards of whole responses; leave such trees out by the run's filters, drop=['zero_advantage']",
        ),
        "generator.step_wise_trajectories": (cfg.generator.step_wise_trajectories, "a sample is one row"),
    }
    for name, (is_set, why) in refused.items():
        if is_set:
            raise InvalidInput(f"{name} does not go with trees: {why}")
    if cfg.trainer.eval_interval > 0 and cfg.data.val_data and not evaluates:
        raise InvalidInput(
            f"trainer.eval_interval={cfg.trainer.eval_interval} wants a run to evaluate in: give evaluation=RUN, "
            "or trainer.eval_interval=-1"
        )


def _names(batch: GeneratorInput) -> list[str]:
    if batch["trajectory_ids"] is None:
        raise InvalidInput("prompts need trajectory_ids, which say which of them are completions of one")
    return [trajectory.instance_id for trajectory in batch["trajectory_ids"]]


def _task(batch: GeneratorInput, place: int) -> dict[str, Any]:
    columns = dict(batch["env_extras"][place] if batch["env_extras"] else {})
    task = {"id": batch["trajectory_ids"][place].instance_id, "messages": batch["prompts"][place]}
    if "reward_spec" in columns:
        task["answer"] = columns.pop("reward_spec")["ground_truth"]
    return columns | task


def _trained(rows: Sequence[Row | None], asked: GeneratorInput) -> GeneratorOutput:
    """Advantages times loss weights as rewards of tokens."""
    rewards = [row.sample.reward for row in rows if row and row.sample.reward is not None]
    metrics: dict[str, float] = {"treeroll/made_up_rows": rows.count(None)}
    if rewards:
        metrics["treeroll/reward_mean"] = sum(rewards) / len(rewards)
        metrics["treeroll/oldest_weights_min"] = min(row.sample.min_weight_version for row in rows if row)
    return _output(
        [row.sample if row else None for row in rows],
        [row.loss_mask.tolist() if row else [0] for row in rows],
        [row.folded.tolist() if row else [0.0] for row in rows],
        asked,
        metrics,
    )


def _evaluated(samples: Sequence[Sample | None], asked: GeneratorInput) -> GeneratorOutput:
    """Rewards of samples."""
    rewards = [None if sample is None else sample.reward for sample in samples]
    return _output(
        samples,
        [[0] if sample is None else sample.model_mask.tolist() for sample in samples],
        [reward or 0.0 for reward in rewards],
        asked,
        {"treeroll/unscored_rows": rewards.count(None)},
    )


def _output(
    samples: Sequence[Sample | None],
    loss_masks: list[list[int]],
    rewards: list[Any],
    asked: GeneratorInput,
    metrics: dict[str, float],
) -> GeneratorOutput:
    responses = [[0] if sample is None else sample.completion_ids.tolist() for sample in samples]
    return {
        "prompt_token_ids": [[0] if sample is None else sample.prompt_ids.tolist() for sample in samples],
        "response_ids": responses,
        "rewards": rewards,
        "loss_masks": loss_masks,
        "stop_reasons": [_stop_reason(sample) for sample in samples],
        "rollout_metrics": get_rollout_metrics(responses, rewards, loss_masks=loss_masks) | metrics,
        "rollout_logprobs": [[0.0] if sample is None else sample.logprobs.tolist() for sample in samples],
        "trajectory_ids": asked["trajectory_ids"],
    }


def _stop_reason(sample: Sample | None) -> str:
    """As SkyRL's engines say it; "none" for a row that makes up."""
    if sample is None:
        return "none"
    return "length" if sample.is_truncated else "stop"

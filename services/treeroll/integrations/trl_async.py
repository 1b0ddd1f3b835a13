"""TRL's AsyncGRPOTrainer (https://github.com/huggingface/trl), fed with trees that grow while it trains.

TRL takes samples with one advantage each. A sample of ours whose advantage changes on its way, at forks, becomes one
for each stretch of equal advantage, with all tokens before it as context; TRL forwards what they share once.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer
from trl.experimental.async_grpo.async_rollout_worker import RolloutSample

from treeroll.client.batch import Batch
from treeroll.client.run import Batches
from treeroll.client.training import Training
from treeroll.errors import InvalidInput
from treeroll.integrations.publisher import Publisher
from treeroll.integrations.rows import Row, check_temperature, rows_of, trains
from treeroll.integrations.trl import read_state, write_state

# How often a thread that waits for TRL to take a sample looks whether training has ended.
LOOK_S = 1.0


class TreerollAsyncGRPOTrainer(AsyncGRPOTrainer):  # type: ignore[misc]  # TRL is not typed
    """AsyncGRPOTrainer whose samples come from a run, and whose weights go to its service.

    Weights are published before the first step and after every `weight_sync_steps`; TRL drops samples whose oldest
    token is more than `max_staleness` of these behind. Trees are acknowledged when a checkpoint has been written and at
    the end, those that were trained on for certain: TRL mixes trees, and reads ahead. So after
    `train(resume_from_checkpoint=...)` no tree is missed, and those of the last step before the checkpoint come again.
    """

    def __init__(
        self,
        model: str,
        args: AsyncGRPOConfig,
        batches: Batches,
        publisher: Publisher,
        *,
        training: Training | None = None,
        **more: Any,
    ) -> None:
        """What AsyncGRPOTrainer takes, without rewards, data, worker and weight transfer.

        Args:
            model: The model that the service serves, as for AsyncGRPOTrainer.
            args: TRL's settings. `temperature` must be the run's.
            batches: `run.batches(..., ack="manual")`. They are closed when training ends.
            publisher: Publishes the weights.
            training: What to train on, as in `Batch.to_numpy`.
            more: Passed on, as `processing_class`, `callbacks` or `peft_config`.

        Raises:
            InvalidInput: Settings that do not go with trees, by name; several processes.
        """
        if args.max_steps <= 0:
            raise InvalidInput("say how many steps to train with AsyncGRPOConfig.max_steps: a run has no epochs")
        if args.token_budget is None:
            raise InvalidInput(
                "say with AsyncGRPOConfig.token_budget how many tokens a pass may have (0: a fixed number of samples): "
                "TRL would ask its own vLLM server, and there is none"
            )
        self._batches = batches
        service = Service(batches, publisher, args.temperature, training or Training())
        super().__init__(
            model,
            args=args,
            train_dataset=Dataset.from_dict({"prompt": [""]}),  # which TRL wants, and leaves to the worker
            rollout_worker=service,
            weight_transfer=service,
            **more,
        )
        if self.accelerator.num_processes > 1:
            raise InvalidInput(
                f"TreerollAsyncGRPOTrainer trains in one process, and accelerate has started "
                f"{self.accelerator.num_processes}: start one"
            )
        self._service = service
        self._steps = _Steps(self)
        self.add_callback(self._steps)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """With which trees its weights were trained on; these are acknowledged once it is written."""
        write_state(self, trial, self._batches, through=self._service.last_before(self._steps.trained_before))
        super()._save_checkpoint(model, trial)
        self._service.acknowledge_before(self._steps.trained_before)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self._batches.load_state_dict(read_state(checkpoint))


class Service:
    """The service as TRL's trainer sees it: its RolloutWorkerProtocol and its WeightTransferProtocol."""

    def __init__(self, batches: Batches, publisher: Publisher, temperature: float, training: Training) -> None:
        # One sample waits, so that the others are as new as they can be when they are taken.
        self.rollout_buffer: queue.Queue[RolloutSample] = queue.Queue(maxsize=1)
        self.metrics_queue: queue.Queue[dict[str, float]] = queue.Queue()
        self._batches, self._publisher = batches, publisher
        self._temperature, self._training = temperature, training
        self._thread = threading.Thread(target=self._produce, name="treeroll rollouts", daemon=True)
        self._stopping = threading.Event()
        self._error: Exception | None = None
        self._groups = 0  # trees handed over, which are numbered from 1
        self._handed: deque[tuple[Batch, int]] = deque()  # with the number of its last tree, not acknowledged
        self._published = 0
        self._versions_before = 0  # of the service's weights, before TRL's first

    def start(self) -> None:
        """Begin to hand over samples."""
        self._thread.start()

    def stop(self) -> None:
        """End, and give back what is not acknowledged."""
        self._stopping.set()
        self._batches.close()

    def update_model_version(self, model_version: int) -> None:
        """The weights published last are this version to TRL."""
        self._versions_before = self._published - model_version

    def check_health(self, stale_after_s: float) -> None:
        """Raise what ended the samples, if something did; a silence is for the batches' `timeout_s` to end."""
        if self._error is not None:
            raise self._error
        if not self._thread.is_alive():
            raise InvalidInput(
                "the batches have ended, and TRL waits for more samples: submit tasks for all of max_steps, with some "
                "to spare for what TRL reads ahead"
            )

    def init_weight_transfer(self) -> None:
        """Nothing to set up."""

    def pause(self) -> None:
        """Replicas are paused while they take weights over."""

    def send_weights(self, iterator: Iterator[tuple[str, torch.Tensor]]) -> None:
        """Publish; when this returns every replica decodes with them."""
        self._published = self._publisher.publish(dict(iterator))

    def resume(self) -> None:
        """They go on by themselves."""

    def destroy(self) -> None:
        """Nothing to release."""

    def last_before(self, group: int) -> Batch | None:
        """The last batch, not acknowledged, all of whose trees have smaller numbers."""
        batches = [batch for batch, last in list(self._handed) if last < group]
        return batches[-1] if batches else None

    def acknowledge_before(self, group: int) -> None:
        """Acknowledge the batches up to that one."""
        while self._handed and self._handed[0][1] < group:
            self._handed.popleft()[0].ack()

    def _produce(self) -> None:
        try:
            for batch in self._batches:
                came = time.time()
                samples = self._samples(batch)
                self._handed.append((batch, self._groups))
                for sample in samples:
                    sample.enqueued_at = came
                    if not self._put(sample):
                        return
        except Exception as error:  # TRL learns of it from check_health
            self._error = error

    def _put(self, sample: RolloutSample) -> bool:
        while not self._stopping.is_set():
            try:
                self.rollout_buffer.put(sample, timeout=LOOK_S)
                return True
            except queue.Full:
                continue
        return False

    def _samples(self, batch: Batch) -> list[RolloutSample]:
        check_temperature(batch.samples, self._temperature, "TRL")
        rows = rows_of(batch.samples, **self._training) if trains(batch.samples) else []
        numbers = {
            tree: number for number, tree in enumerate(dict.fromkeys(r.sample.tree_id for r in rows), self._groups + 1)
        }
        self._groups += len(numbers)
        return [
            sample
            for row in rows
            for sample in rollout_samples(row, numbers[row.sample.tree_id], self._versions_before)
        ]


def rollout_samples(row: Row, group_id: int, versions_before: int = 0) -> list[RolloutSample]:
    """TRL's samples of one of ours, one for each stretch of equal advantage; together they train on its tokens once.

    `versions_before` is subtracted from its oldest weights' version. The reward, for TRL's log, is with the first.
    InvalidInput if advantages change inside nodes, as by some options of `Training`.
    """
    sample = row.sample
    reward = float("nan") if sample.reward is None else float(sample.reward)
    trained = np.flatnonzero(row.loss_mask)
    stretches = np.split(trained, np.flatnonzero(np.diff(row.folded[trained])) + 1) if len(trained) else []
    if len(stretches) > len(sample.path_node_ids):
        raise InvalidInput(
            f"sample {sample.sample_id} has {len(stretches)} advantages on {len(sample.path_node_ids)} nodes, and TRL "
            "takes one a sample: leave out what makes them differ from token to token (factor, whiten ... of training=)"
        )
    return [
        RolloutSample(
            prompt=[{"role": "user", "content": sample.prompt_text}],
            completion=[{"role": "assistant", "content": sample.completion_text}],
            input_ids=np.concatenate([sample.prompt_ids, sample.completion_ids[: stretch[-1] + 1]]),
            completion_mask=_on(sample, stretch, 1),
            old_log_probs=_on(sample, stretch, sample.logprobs[stretch]),
            advantage=float(row.folded[stretch[0]]),
            model_version=sample.min_weight_version - versions_before,
            group_id=group_id,
            metrics={"reward": reward} if place == 0 else {},
        )
        for place, stretch in enumerate(stretches)
    ]


def _on(sample: Any, stretch: Any, values: Any) -> Any:
    """[T] float32 or int64; the values on the stretch, 0 on the tokens before."""
    prompt = len(sample.prompt_ids)
    column = np.zeros(prompt + stretch[-1] + 1, np.int64 if isinstance(values, int) else np.float32)
    column[prompt + stretch] = values
    return column


class _Steps(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Notes which trees were trained on for certain.

    TRL says which it has put into passes, of which one may be read ahead of its step. All that were by the end of a
    step are trained on by the end of the next; of the last of them more may be to come.
    """

    def __init__(self, trainer: TreerollAsyncGRPOTrainer) -> None:
        self._trainer = trainer
        self._read_before = 0
        self.trained_before = 0
        """All trees with smaller numbers were trained on."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trained_before, self._read_before = self._read_before, max(self._trainer._trained_groups, default=0)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer._service.acknowledge_before(self.trained_before)

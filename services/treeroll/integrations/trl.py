"""TRL's GRPOTrainer (https://github.com/huggingface/trl), fed with trees.

TRL keeps its loss, optimizer, logging and checkpoints. What it would generate and score itself, batches bring: groups
of any size, and advantages per token as the run's estimator gives them.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOConfig, GRPOTrainer

from treeroll.client.batch import Batch
from treeroll.client.run import Batches
from treeroll.client.tensors import padded
from treeroll.client.training import Training
from treeroll.errors import InvalidInput
from treeroll.integrations.publisher import Publisher
from treeroll.integrations.rows import check_temperature, trains

STATE_FILE = "treeroll_batches.json"
"""In every checkpoint: the trees that its weights were trained on."""

COLUMNS = (
    "prompt_ids",
    "prompt_mask",
    "completion_ids",
    "completion_mask",
    "tool_mask",
    "advantages",
    "old_per_token_logps",
    "sampling_per_token_logps",
)
"""Of `padded`: what TRL's loss reads."""

Tensors = dict[str, torch.Tensor]

# What belongs to TRL's own generation, which there is none of.
_UNUSED: dict[str, tuple[Callable[[GRPOConfig], bool], str]] = {
    "use_vllm": (lambda args: args.use_vllm, "the service generates"),
    "beta": (lambda args: args.beta != 0, "there are no log probabilities of a reference model"),
    "mask_truncated_completions": (
        lambda args: args.mask_truncated_completions,
        "leave such trees out by the run's filters, drop=['truncated']",
    ),
    "max_steps": (
        lambda args: args.max_steps <= 0,
        "say how many steps to train; it ends before that with the batches",
    ),
    "eval_strategy": (lambda args: args.eval_strategy != "no", "the service's trees are to train on"),
}

# These take the mean over rows, so that rows that fill up a batch would dilute it.
_MEAN_OVER_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")


class TreerollGRPOTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is not typed
    """GRPOTrainer whose completions, rewards and advantages come from a run.

    A batch of trees is one generation of TRL's: it is trained on for steps_per_generation x num_iterations / gradient
    accumulation optimizer steps. Training ends when the batches do, or at max_steps. Trees are acknowledged when a
    checkpoint has been written, and at the end; `train(resume_from_checkpoint=...)` has those again that the
    checkpoint's weights were not trained on, and only those.
    """

    def __init__(
        self,
        model: str | PreTrainedModel,
        args: GRPOConfig,
        batches: Batches,
        *,
        publisher: Publisher | None = None,
        publish_every: int = 1,
        training: Training | None = None,
        **more: Any,
    ) -> None:
        """What GRPOTrainer takes, without rewards and data.

        Args:
            model: The model that the service serves, as for GRPOTrainer.
            args: TRL's settings. `temperature` must be the run's.
            batches: `run.batches(..., ack="manual")`.
            publisher: Publishes the weights after every `publish_every` optimizer steps, and before the first if the
                service has others than the trainer; None: never.
            publish_every: See there.
            training: What to train on, as in `Batch.to_numpy`.
            more: Passed on, as `processing_class` or `callbacks`.

        Raises:
            InvalidInput: Settings that belong to TRL's own generation, by name; several processes; PEFT's adapters
                with a publisher.
        """
        _check(args, publish_every)
        args.ignore_data_skip = True  # the data set only counts steps
        super().__init__(model, reward_funcs=_not_called, args=args, train_dataset=_counting(args), **more)
        if self.accelerator.num_processes > 1:
            raise InvalidInput(
                f"TreerollGRPOTrainer trains in one process, and accelerate has started "
                f"{self.accelerator.num_processes}: start one"
            )
        if publisher is not None and hasattr(self.accelerator.unwrap_model(self.model), "merge_adapter"):
            raise InvalidInput("weights of an adapter (PEFT) cannot be published; train the whole model")
        self._batches, self._publisher, self._publish_every = batches, publisher, publish_every
        self._training = training or Training()
        self._next: Batch | None = None
        self._trained: list[Batch] = []  # and not acknowledged
        self.add_callback(_Steps(self))

    @property
    def unacknowledged(self) -> tuple[Batch, ...]:
        """Batches that were trained on since the last checkpoint, those with nothing to train on included."""
        return tuple(self._trained)

    def _generate_and_score_completions(self, inputs: Any) -> Tensors:
        """A batch, as TRL would have made it."""
        batch, self._next = self._next, None
        if batch is None:
            raise InvalidInput("a step wants a batch of trees where none was to come; train with TRL's own train()")
        self._trained.append(batch)
        tensors = self._tensors(batch)
        tensors = _filled(tensors, self.args.steps_per_generation, self.loss_type in _MEAN_OVER_ROWS)
        tensors["num_items_in_batch"] = (tensors["completion_mask"] * tensors["tool_mask"]).sum()
        self._note(batch)
        return tensors

    def _tensors(self, batch: Batch) -> Tensors:
        check_temperature(batch.samples, self.args.temperature, "TRL")
        arrays = padded(batch.samples, self._tokenizer.pad_token_id, fold_weights=True, **self._training)
        return {name: torch.from_numpy(arrays[name]).to(self.accelerator.device) for name in COLUMNS}

    def _note(self, batch: Batch) -> None:
        """What TRL logs of its own generation."""
        rewards = [sample.reward for sample in batch.samples if sample.reward is not None]
        lengths = [float(len(sample.completion_ids)) for sample in batch.samples]
        metrics = self._metrics["train"]
        metrics["reward"].append(sum(rewards) / len(rewards))
        metrics["completions/mean_length"].append(sum(lengths) / len(lengths))
        metrics["treeroll/trees"].append(float(len(batch.trees)))
        metrics["treeroll/oldest_weights"].append(float(min(s.min_weight_version for s in batch.samples)))
        self._logs["prompt"].extend(sample.prompt_text for sample in batch.samples)
        self._logs["completion"].extend(sample.completion_text for sample in batch.samples)
        self._logs["rewards"]["treeroll"].extend(sample.reward for sample in batch.samples)
        self._logs["advantages"].extend(_mean(sample.advantages) for sample in batch.samples)

    def _fetch(self) -> bool:
        """Have the next batch with something to train on at hand; False when there is none."""
        while self._next is None:
            batch = next(self._batches, None)
            if batch is None:
                return False
            if trains(batch.samples):
                self._next = batch
            else:
                self._trained.append(batch)  # done with, all the same
        return True

    def _publish(self) -> None:
        if self._publisher is not None:
            self._publisher.publish(self.accelerator.unwrap_model(self.model))

    def _acknowledge(self) -> None:
        trained, self._trained = self._trained, []
        for batch in trained:
            batch.ack()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """With which trees its weights were trained on; these are acknowledged once it is written."""
        write_state(self, trial, self._batches, through=self._trained[-1] if self._trained else None)
        super()._save_checkpoint(model, trial)
        self._acknowledge()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        self._batches.load_state_dict(read_state(checkpoint))
        self._next, self._trained = None, []  # batches handed out before are over


def write_state(trainer: Any, trial: Any, batches: Batches, through: Batch | None) -> None:
    """Say in the checkpoint that is to be saved now which trees its weights were trained on: those acknowledged, and
    the batches up to this one."""
    folder = Path(trainer._get_output_dir(trial=trial), f"{PREFIX_CHECKPOINT_DIR}-{trainer.state.global_step}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STATE_FILE).write_text(json.dumps(batches.state_dict(through=through)), encoding="utf-8")


def read_state(checkpoint: str) -> Any:
    """For `Batches.load_state_dict`. InvalidInput if the checkpoint has none."""
    path = Path(checkpoint, STATE_FILE)
    if not path.exists():
        raise InvalidInput(f"{checkpoint} does not say which trees it was trained on: it has no {STATE_FILE}")
    return json.loads(path.read_text(encoding="utf-8"))


def last_checkpoint(folder: str | Path) -> str | None:
    """The newest whole checkpoint in a trainer's output folder, for `train(resume_from_checkpoint=...)`; None if there
    is none.

    A trainer that is killed while it writes one leaves a part of it, of which the trainer's state, the last file that
    transformers writes, is not there; transformers' `get_last_checkpoint` would give that part.
    """
    whole = [path.parent for path in Path(folder).glob(f"{PREFIX_CHECKPOINT_DIR}-*/{TRAINER_STATE_NAME}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


class _Steps(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Publishes after a step, and has the next batch before one: a step that has none must not begin."""

    def __init__(self, trainer: TreerollGRPOTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        publisher = self._trainer._publisher
        if publisher is not None and (state.global_step or publisher.version):
            self._trainer._publish()  # the service may have weights of after the checkpoint, or of another training
        if not self._trainer._fetch():
            raise InvalidInput("the batches hold no tree to train on: submit tasks before train()")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer = self._trainer
        if state.global_step % trainer._publish_every == 0:
            trainer._publish()
        between = trainer._step % (args.steps_per_generation * trainer.num_iterations) == 0
        if between and state.global_step < state.max_steps and not trainer._fetch():
            control.should_training_stop = True
            control.should_save = args.save_strategy == "steps"  # as at max_steps

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer._acknowledge()


def _check(args: GRPOConfig, publish_every: int) -> None:
    if publish_every < 1:
        raise InvalidInput(f"publish_every must be 1 or more, got {publish_every}")
    for name, (is_set, why) in _UNUSED.items():
        if is_set(args):
            raise InvalidInput(f"GRPOConfig.{name}={getattr(args, name)!r} does not go with trees: {why}")
    per_batch = args.steps_per_generation * args.num_iterations
    if per_batch % args.gradient_accumulation_steps:
        raise InvalidInput(
            f"a batch of trees lasts for steps_per_generation x num_iterations = {per_batch} passes, and an optimizer "
            f"step takes gradient_accumulation_steps = {args.gradient_accumulation_steps}: the first must be a "
            "multiple of the second, or a step would wait for a batch in its middle"
        )
    steps = per_batch // args.gradient_accumulation_steps
    for name in ("max_steps", "save_steps") if args.save_strategy == "steps" else ():
        if getattr(args, name) % steps:
            raise InvalidInput(
                f"a batch of trees lasts for {steps} optimizer steps, and {name}={getattr(args, name)} is no multiple: "
                "a checkpoint would have half of it"
            )


def _counting(args: GRPOConfig) -> Dataset:
    """A data set whose one epoch has a prompt for every generation up to max_steps."""
    steps = args.steps_per_generation * args.num_iterations // args.gradient_accumulation_steps
    generations = -(-args.max_steps // steps)
    return Dataset.from_dict({"prompt": [""] * (generations * (args.generation_batch_size // args.num_generations))})


def _filled(tensors: Tensors, chunks: int, mean_over_rows: bool) -> Tensors:
    """Rows that fill up to a multiple of `chunks`, which TRL splits a batch into. They are not trained on."""
    have = len(tensors["prompt_ids"])
    missing = -have % chunks
    if not missing:
        return tensors
    filled = {name: torch.cat([tensor, tensor[:1].expand(missing, -1)]) for name, tensor in tensors.items()}
    filled["tool_mask"][have:] = 0
    if mean_over_rows:
        filled["advantages"] *= (have + missing) / have
    return filled


def _mean(advantages: Any) -> float:
    return 0.0 if advantages is None or not len(advantages) else float(advantages.mean())


def _not_called(**_: Any) -> list[float]:
    """GRPOTrainer wants a reward function."""
    raise InvalidInput("rewards come with the trees; this function is not for calling")

"""TRL's GRPOTrainer, as it is, trains on trees of a service for tests."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

pytest.importorskip("trl", reason="scripts/test puts it on the path")

import torch
from safetensors.torch import load_file
from tests.support.pages import blocks, lead_to, run_block, write_demo_tasks
from transformers import TrainerCallback
from trl import GRPOConfig

import treeroll
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.examples.learning_log import standing
from treeroll.integrations.publisher import Publisher
from treeroll.integrations.trl import STATE_FILE, TreerollGRPOTrainer, last_checkpoint
from treeroll.testing.service import running_service

# The trainer of the examples, which is killed when it has noted so many steps: before it writes the next checkpoint.
EXAMPLE = """
import json, os, signal, sys
from trl import import_utils
import_utils.is_vllm_available = lambda min_version=None: False  # as in conftest.py
from treeroll.examples import trl_trainer

def append_and_die(file, line, append=trl_trainer.append):
    append(file, line)
    if json.loads(line)["step"] == int(os.environ["KILLED_AFTER"]):
        os.kill(os.getpid(), signal.SIGKILL)

trl_trainer.append = append_and_die
trl_trainer.main()
"""
PAGE = "integrations/trl.md"
ON_CPU = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": [], "disable_tqdm": True}


SCORER = f"python:{__name__}:zero_or_one"


def zero_or_one(prompt: str, completion: str, answer: str, extra: Any) -> float:
    """By chance, so that the samples of a tree differ: what the simulated engine says is nearly always right."""
    return float(crc32(completion.encode()) % 2)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_service(slots=64) as address:
        yield address


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_demo_tasks(tmp_path, 8)
    return tmp_path


class Recorded(TreerollGRPOTrainer):
    """Keeps what it was trained on, what its loss was given, and the gradients of its last step."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.taken: list[Any] = []
        self.given: list[dict[str, Any]] = []
        self.gradients: dict[str, torch.Tensor] = {}
        self.add_callback(_KeepsGradients(self))

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        self.taken.append(self._next)
        return super()._generate_and_score_completions(inputs)

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        self.given.append(inputs)
        return super()._compute_loss(model, inputs)

    def journal(self) -> list[list[str]]:
        """Tree ids, generation by generation."""
        return [[tree.tree_id for tree in batch.trees] for batch in self.taken]


class _KeepsGradients(TrainerCallback):
    def __init__(self, trainer: Recorded) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
        self._trainer.gradients = {name: weights.grad.clone() for name, weights in model.named_parameters()}


class _Dies(TrainerCallback):
    """At the beginning of a step, with a batch at hand."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step + 1 == self._step:
            raise KeyboardInterrupt


def new_run(address: str, name: str, tasks: int, **options: Any) -> treeroll.Run:
    run = treeroll.connect(address).create_run(name, **{"recipe": "treepo", "leaves": 4, "scorer": SCORER, **options})
    run.submit(treeroll.read_tasks(TASKS_FILE)[:tasks])
    run.close()
    return run


def config(**settings: Any) -> GRPOConfig:
    return GRPOConfig("out", **{"max_steps": 1, "save_strategy": "no", "max_grad_norm": 0, **ON_CPU, **settings})


def trainer(address: str, name: str, tasks: int, trees: int = 2, **settings: Any) -> Recorded:
    return Recorded(
        str(MODEL_DIR), config(**settings), new_run(address, name, tasks).batches(trees=trees, ack="manual")
    )


def test_the_page_trains_publishes_and_resumes(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, _ = blocks(PAGE)
    replaced = {'"MODEL"': repr(str(MODEL_DIR)), '"arith"': repr(SCORER)}
    replaced |= {"report_to=[],": "report_to=[], use_cpu=True, bf16=False,"}
    with running_service(slots=64) as other:  # whose weights are its own
        lead_to(other, monkeypatch)
        names = run_block(program, PAGE, replaced)
        assert names["trainer"].state.global_step == 4
        status = names["client"].weights()
        assert status.version == 4
    published = load_file(Path(status.path) / "model.safetensors")
    saved = load_file(folder / "out" / "checkpoint-4" / "model.safetensors")
    before = load_file(MODEL_DIR / "model.safetensors")
    assert all(torch.equal(published[key], saved[key]) for key in published)
    assert any(not torch.equal(published[key], before[key]) for key in published)
    assert json.loads((folder / "out" / "checkpoint-2" / STATE_FILE).read_text())["acknowledged"]


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo"])
def test_the_gradient_is_that_of_the_clipped_loss_over_our_tokens_and_advantages(address: str, loss_type: str) -> None:
    """TRL's own step over its own parts of a batch, against the definition, one sample at a time without padding."""
    ours = trainer(address, f"loss-{loss_type}", 3, trees=3, gradient_accumulation_steps=5, loss_type=loss_type)
    before = {name: tensor.clone() for name, tensor in ours.model.state_dict().items()}
    ours.train()
    (batch,) = ours.taken
    assert len(ours.given) == 5
    assert len(batch) % 5  # so that rows had to make up
    assert {0.0, 1.0} <= {sample.reward for sample in batch.samples}
    ours.model.load_state_dict(before)
    ours.model.zero_grad()
    expected_loss(ours, batch, loss_type).backward()
    assert any(gradient.any() for gradient in ours.gradients.values())
    for name, weights in ours.model.named_parameters():
        scale = float(weights.grad.abs().max())
        torch.testing.assert_close(ours.gradients[name], weights.grad, rtol=1e-3, atol=1e-4 * scale)


def expected_loss(ours: Recorded, batch: Any, loss_type: str) -> torch.Tensor:
    total, per_sample, tokens = torch.zeros(()), torch.zeros(()), 0
    for sample in batch.samples:
        ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
        logits = ours.model(ids).logits[0, len(sample.prompt_ids) - 1 : -1].float()
        picked = logits.log_softmax(-1).gather(-1, ids[0, len(sample.prompt_ids) :, None])[:, 0]
        ratio = (picked - torch.tensor(sample.logprobs)).exp()
        advantages = torch.tensor(sample.advantages)
        loss = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
        total, per_sample, tokens = total + loss.sum(), per_sample + loss.mean(), tokens + len(loss)
    if loss_type == "grpo":
        return per_sample / len(batch.samples)
    if loss_type == "dr_grpo":
        return total / len(batch.samples) / ours.max_completion_length
    return total / tokens


def test_what_reaches_trls_loss_are_our_columns(address: str) -> None:
    batches = new_run(address, "columns", 4).batches(trees=2, ack="manual")
    settings = config(max_steps=2, learning_rate=1e-3)
    ours = Recorded(str(MODEL_DIR), settings, batches, training={"weigh": "samples"})
    before = {name: tensor.clone() for name, tensor in ours.model.state_dict().items()}
    ours.train()
    assert any(not torch.equal(before[name], tensor) for name, tensor in ours.model.state_dict().items())
    assert len(ours.given) == 2
    for batch, given in zip(ours.taken, ours.given, strict=True):
        arrays = batch.to_numpy(weigh="samples")
        assert (arrays["loss_weights"][arrays["loss_mask"] == 1] < 1).any()
        wanted = {
            **arrays,
            "tool_mask": arrays["loss_mask"],
            "advantages": arrays["advantages"] * arrays["loss_weights"],
        }
        names = ["completion_ids", "completion_mask", "tool_mask", "advantages", "sampling_per_token_logps"]
        names += ["old_per_token_logps", "prompt_ids", "prompt_mask"]
        assert sorted(rows_of_bytes(given, names)) == sorted(rows_of_bytes(wanted, names))  # TRL shuffles
        assert int(given["num_items_in_batch"]) == arrays["loss_mask"].sum()


def rows_of_bytes(columns: Any, names: list[str]) -> list[bytes]:
    """Each row of all these columns, as something to sort."""
    arrays = [np.asarray(columns[name], np.float32) for name in names]
    return [b"|".join(array[row].tobytes() for array in arrays) for row in range(len(arrays[0]))]


def test_no_tree_is_trained_on_twice_or_never_by_a_trainer_that_dies(folder: Path) -> None:
    """It dies with trees leased, and with trees that were trained on after its last checkpoint."""
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-4}
    with running_service(slots=64) as address:
        run = new_run(address, "killed", 12)
        lives: list[Recorded] = []
        for death in (4, 99):
            client = treeroll.connect(address)
            batches = client.run("killed").batches(trees=2, ack="manual")
            publisher = Publisher(run, folder / "weights")
            life = Recorded(str(MODEL_DIR), config(**settings), batches, publisher=publisher, callbacks=[_Dies(death)])
            lives.append(life)
            if death == 4:
                with pytest.raises(KeyboardInterrupt):
                    life.train()
                assert [len(trees) for trees in life.journal()] == [2, 2, 2]
                assert life._next is not None
            else:
                life.train(resume_from_checkpoint="out/checkpoint-2")
        first, second = (life.journal() for life in lives)
        trained = [tree for trees in [*first[:2], *second] for tree in trees]  # what the last weights are made of
        assert len(trained) == len(set(trained)) == 12
        assert set(first[2]) <= set(trained[4:])  # was trained on by weights that are lost, and again
        assert list(treeroll.connect(address).run("killed").batches(trees=1)) == []
        # Three steps, the checkpoint's weights again, four more steps.
        assert publisher.version == 8
        assert len(list((folder / "weights").iterdir())) == len(client.weights().in_use)


class _DiesWhileItSaves(Recorded):
    """In its second checkpoint, of which the weights are written already."""

    def _save_rng_state(self, output_dir: Any) -> None:
        if str(output_dir).endswith("checkpoint-2"):
            raise KeyboardInterrupt
        super()._save_rng_state(output_dir)


def test_a_checkpoint_that_was_not_written_to_its_end_is_none(folder: Path) -> None:
    settings = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1, "learning_rate": 1e-4}
    with running_service(slots=64) as address:
        new_run(address, "half", 6)
        assert last_checkpoint("out") is None
        trained: list[list[str]] = []
        for life in (_DiesWhileItSaves, Recorded):
            batches = treeroll.connect(address).run("half").batches(trees=2, ack="manual")
            ours = life(str(MODEL_DIR), config(**settings), batches)
            if life is _DiesWhileItSaves:
                with pytest.raises(KeyboardInterrupt):
                    ours.train()
                assert (folder / "out" / "checkpoint-2" / STATE_FILE).exists()
                assert last_checkpoint("out") == "out/checkpoint-1"
                trained += ours.journal()[:1]
            else:
                ours.train(resume_from_checkpoint=last_checkpoint("out"))
                trained += ours.journal()
        trees = [tree for step in trained for tree in step]
        assert len(trees) == len(set(trees)) == 6
        assert last_checkpoint("out") == "out/checkpoint-3"


def noted(out: Path) -> list[dict[str, Any]]:
    """Steps with their tasks, of all lives."""
    file = out / "journal.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def live(address: str, out: Path, *options: str, killed_after: int) -> int:
    """One life of the example trainer, until it ends or has noted so many steps; its exit status."""
    settings = ("--address", address, "--out", str(out), "--scorer", SCORER, "--evaluate-every", "0")
    small = ("--trees", "2", "--leaves", "4")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "KILLED_AFTER": str(killed_after)}  # threads as in conftest.py
    command = [sys.executable, "-c", EXAMPLE, *settings, *small, *options]
    return subprocess.run(command, env=environment, check=False).returncode


def test_the_example_trains_twenty_steps_killed_on_its_way_with_every_tree_once(tmp_path: Path) -> None:
    steps = ("--steps", "20")
    with running_service(slots=64) as address:
        assert live(address, tmp_path, *steps, killed_after=9) == -signal.SIGKILL
        assert live(address, tmp_path, *steps, "--resume", killed_after=21) == 0
        assert list(treeroll.connect(address).run("trl").batches(trees=1, group="trainer")) == []
    kept = [task for line in standing(noted(tmp_path)) for task in line["tasks"]]
    every = [task for line in noted(tmp_path) for task in line["tasks"]]
    assert noted(tmp_path)[-1]["step"] == 20
    assert len(kept) == len(set(kept)) == 40
    assert len(every) > len(kept)  # steps that were lost with their weights were made again
    assert set(every) == set(kept)


def test_samples_say_under_which_published_weights_they_grew(folder: Path) -> None:
    with running_service(slots=64) as address:
        client = treeroll.connect(address)
        run = client.create_run("versions", recipe="treepo", leaves=4, scorer=SCORER)
        tasks = treeroll.read_tasks(TASKS_FILE)
        run.submit(tasks[:4])
        batches = run.batches(trees=2, ack="manual")
        publisher = Publisher(run, folder / "weights")
        ours = Recorded(str(MODEL_DIR), config(max_steps=2), batches, publisher=publisher, publish_every=2)
        ours.train()
        assert client.weights().version == 1
        run.submit(tasks[4:6])
        run.close()
        after = [sample for batch in batches for sample in batch.samples]
        assert {sample.min_weight_version for batch in ours.taken for sample in batch.samples} == {0}
        assert {sample.min_weight_version for sample in after} == {1}


def test_training_ends_with_the_batches_and_acknowledges_them(address: str, folder: Path) -> None:
    ours = trainer(address, "short", 3, max_steps=10, save_strategy="steps", save_steps=10)
    ours.train()
    assert ours.state.global_step == 2
    assert (folder / "out" / "checkpoint-2" / STATE_FILE).exists()
    assert list(treeroll.connect(address).run("short").batches(trees=1)) == []
    (folder / "out" / "checkpoint-2" / STATE_FILE).unlink()
    with pytest.raises(InvalidInput, match=f"it has no {STATE_FILE}"):
        ours.train(resume_from_checkpoint="out/checkpoint-2")


def test_a_run_without_trees_is_said_and_not_trained_on(address: str) -> None:
    with pytest.raises(InvalidInput, match="hold no tree to train on"):
        trainer(address, "empty", 0).train()


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"beta": 0.1}, r"GRPOConfig.beta=0.1 does not go with trees: there are no log probabilities"),
        ({"use_vllm": True}, "GRPOConfig.use_vllm=True does not go with trees: the service generates"),
        ({"mask_truncated_completions": True}, "leave such trees out"),
        ({"max_steps": -1}, "say how many steps to train"),
        ({"eval_strategy": "steps"}, "the service's trees are to train on"),
        ({"steps_per_generation": 3, "gradient_accumulation_steps": 2}, "must be a multiple of the second"),
        (
            {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 3},
            "save_steps=3 is no multiple",
        ),
    ],
)
def test_settings_that_do_not_go_with_trees_are_refused_by_name(settings: dict[str, Any], what: str) -> None:
    batches: Any = None
    with pytest.raises(InvalidInput, match=what):
        TreerollGRPOTrainer(str(MODEL_DIR), config(**{"max_steps": 4, **settings}), batches)


def test_another_temperature_than_the_runs_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match=r"sampled at temperature 1, and TRL divides logits by 0.7"):
        trainer(address, "hot", 2, temperature=0.7).train()

"""TRL's AsyncGRPOTrainer, as it is but for its GPU kernels, trains on trees of a service while they grow."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

pytest.importorskip("trl", reason="scripts/test puts it on the path")

import torch
from safetensors.torch import load_file
from tests.adapters.trl.cpu import on_cpu
from tests.support.pages import blocks, lead_to, run_block, write_demo_tasks
from transformers import TrainerCallback
from trl.experimental.async_grpo import AsyncGRPOConfig

import treeroll
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.integrations.publisher import Publisher
from treeroll.integrations.rows import rows_of
from treeroll.integrations.trl import STATE_FILE, last_checkpoint
from treeroll.integrations.trl_async import Service, TreerollAsyncGRPOTrainer, rollout_samples
from treeroll.testing.service import running_service

PAGE = "integrations/trl.md"
SCORER = f"python:{__name__}:zero_or_one"
ON_CPU = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": [], "disable_tqdm": True}


def zero_or_one(prompt: str, completion: str, answer: str, extra: Any) -> float:
    """By chance, so that the samples of a tree differ: what the simulated engine says is nearly always right."""
    return float(crc32(completion.encode()) % 2)


@pytest.fixture
def address() -> Iterator[str]:
    with running_service(slots=64) as address:
        yield address


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    on_cpu(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write_demo_tasks(tmp_path, 40)
    return tmp_path


def new_run(address: str, name: str, tasks: int, **options: Any) -> treeroll.Run:
    run = treeroll.connect(address).create_run(name, **{"recipe": "treepo", "leaves": 4, "scorer": SCORER, **options})
    run.submit(treeroll.read_tasks(TASKS_FILE)[:tasks])
    run.close()
    return run


def config(**settings: Any) -> AsyncGRPOConfig:
    settings = {"max_steps": 2, "save_strategy": "no", "max_grad_norm": 0, "token_budget": 1000, **ON_CPU, **settings}
    return AsyncGRPOConfig("out", **{"gradient_accumulation_steps": 2, **settings})


TASKS = 120
"""More than six steps take, with what two trainers read ahead."""
NEVER_STALE = 99
"""The simulated engine has grown all trees before the first step."""


class Recorded(TreerollAsyncGRPOTrainer):
    """Keeps the samples that its passes were made of, its loss's rows, and the gradients of its first step."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.handed: list[Any] = []
        self.given: list[Any] = []
        self.gradients: dict[str, torch.Tensor] = {}
        made = self._service._samples

        def keep(batch: Any) -> Any:
            samples = made(batch)
            self.handed.extend(samples)
            return samples

        self._service._samples = keep
        self.add_callback(_KeepsGradients(self))

    def compute_loss(self, model: Any, inputs: Any, **more: Any) -> Any:
        self.given.append(inputs)
        return super().compute_loss(model, inputs, **more)


class _KeepsGradients(TrainerCallback):
    def __init__(self, trainer: Recorded) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
        self._trainer.gradients = self._trainer.gradients or {
            name: weights.grad.clone() for name, weights in model.named_parameters()
        }


class _Dies(TrainerCallback):
    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step + 1 == self._step:
            raise KeyboardInterrupt


def test_the_page_trains_while_trees_grow_and_publishes(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, program = blocks(PAGE)
    replaced = {'"MODEL"': repr(str(MODEL_DIR)), '"arith"': repr(SCORER)}
    replaced |= {"report_to=[],": "report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False,"}
    lead_to(address, monkeypatch)
    names = run_block(program, PAGE, replaced)
    trainer, status = names["trainer"], names["client"].weights()
    assert trainer.state.global_step == 4
    assert status.version == 5  # one before the first step
    assert trainer.model_version == 5
    published = load_file(Path(status.path) / "model.safetensors")
    before = load_file(MODEL_DIR / "model.safetensors")
    assert set(published) == set(before)
    assert any(not torch.equal(published[key], before[key]) for key in published)
    last = trainer.state.log_history[-2]
    assert last["batch/packing_ratio"] > 1
    assert 0 <= last["reward"] <= 1


def test_the_gradient_is_that_of_the_clipped_loss_over_our_tokens_and_advantages(address: str, folder: Path) -> None:
    """TRL's own step over its own passes, against the definition, one sample at a time without packing."""
    run = new_run(address, "loss", 30)
    batches = run.batches(trees=2, ack="manual")
    ours = Recorded(str(MODEL_DIR), config(), batches, Publisher(run, folder / "weights"))
    before = {name: tensor.clone() for name, tensor in ours.model.state_dict().items()}
    ours.train()
    counts = [int(given["segment_id"].max()) + 1 for given in ours.given]
    assert len(counts) == 4
    assert {sample.advantage > 0 for sample in ours.handed} == {True, False}
    ours.model.load_state_dict(before)
    ours.model.zero_grad()
    samples = iter(ours.handed)
    total = torch.zeros(())
    for count in counts[:2]:
        losses = torch.cat([token_losses(ours.model, next(samples)) for _ in range(count)])
        total = total + losses.mean() / 2
    total.backward()
    assert any(gradient.any() for gradient in ours.gradients.values())
    wanted = torch.cat([weights.grad.flatten() for weights in ours.model.parameters()])
    found = torch.cat([ours.gradients[name].flatten() for name, _ in ours.model.named_parameters()])
    assert float((found - wanted).norm() / wanted.norm()) < 1e-4


def token_losses(model: Any, sample: Any) -> torch.Tensor:
    """Of the tokens that are trained on."""
    ids, mask = torch.tensor(sample.input_ids)[None].long(), torch.tensor(sample.completion_mask).bool()
    cut = torch.tensor([0, ids.shape[1]])
    row = {"tree_kv_index": torch.arange(ids.shape[1]), "tree_cu_seqlens_q": cut, "tree_cu_seqlens_k": cut}
    row |= {"tree_max_seqlen_q": ids.shape[1], "tree_max_seqlen_k": ids.shape[1]}
    logits = model(ids, position_ids=torch.arange(ids.shape[1])[None], **row).logits[0, :-1].float()
    picked = logits.log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0][mask[1:]]
    ratio = (picked - torch.tensor(sample.old_log_probs)[mask]).exp()
    return -torch.minimum(ratio * sample.advantage, ratio.clamp(0.8, 1.2) * sample.advantage)


@pytest.mark.parametrize("training", [{}, {"weigh": "samples", "shared_prefixes": "once"}])
def test_stretches_of_equal_advantage_are_our_tokens_once(address: str, training: Any) -> None:
    batch = next(
        new_run(address, "stretches", 4, recipe="treerpo", branch={"arity": 2}, leaves=8, segment_tokens=16).batches(
            trees=4
        )
    )
    rows = rows_of(batch.samples, **training)
    split = 0
    for row in rows:
        prompt = len(row.sample.prompt_ids)
        mask, advantages, logprobs = (np.zeros(row.length, np.float32) for _ in range(3))
        stretches = rollout_samples(row, 7)
        split += len(stretches) > 1
        for stretch in stretches:
            end = len(stretch.input_ids)
            assert stretch.input_ids.tolist() == [*row.prompt_ids, *row.completion_ids][:end]
            assert len(stretch.completion_mask) == len(stretch.old_log_probs) == end
            assert stretch.completion_mask[-1] == 1
            mask[:end] += stretch.completion_mask
            advantages[:end] += stretch.completion_mask * np.float32(stretch.advantage)
            logprobs[:end] += stretch.old_log_probs
        np.testing.assert_array_equal(mask[prompt:], row.loss_mask)
        np.testing.assert_array_equal(advantages[prompt:], row.folded * row.loss_mask)
        np.testing.assert_array_equal(logprobs[prompt:], row.sample.logprobs * row.loss_mask)
        assert not mask[:prompt].any()
        assert [stretch.metrics for stretch in stretches] == [
            {"reward": row.sample.reward},
            *[{}] * (len(stretches) - 1),
        ]
    assert split


def test_advantages_that_differ_from_token_to_token_are_refused(address: str) -> None:
    batch = next(new_run(address, "factor", 4).batches(trees=4))
    rows = rows_of(batch.samples)
    row = next(row for row in rows if row.length > 40)
    row.advantages[:] = np.arange(len(row.advantages))
    with pytest.raises(InvalidInput, match=r"advantages on \d+ nodes, and TRL takes one a sample"):
        rollout_samples(row, 1)


def test_samples_say_how_many_publications_ago_their_oldest_weights_were(address: str, folder: Path) -> None:
    run = treeroll.connect(address).create_run("versions", recipe="treepo", leaves=4, scorer=SCORER)
    publisher = Publisher(run, folder / "weights")
    weights = load_file(MODEL_DIR / "model.safetensors")
    for _ in range(3):
        publisher.publish(weights)  # of a training before
    tasks = treeroll.read_tasks(TASKS_FILE)
    service = Service(run.batches(trees=2, ack="manual"), publisher, 1.0, {})
    run.submit(tasks[:2])
    old = next(service._batches)
    service.send_weights(iter(weights.items()))
    service.update_model_version(1)
    run.submit(tasks[2:4])
    new = next(service._batches)
    assert {sample.model_version for sample in service._samples(old)} == {0}
    assert {sample.model_version for sample in service._samples(new)} == {1}
    service.send_weights(iter(weights.items()))
    service.update_model_version(2)
    assert {sample.model_version for sample in service._samples(new)} == {1}
    service.stop()


def test_no_tree_is_missed_by_a_trainer_that_dies(folder: Path) -> None:
    """Those of its last step before the checkpoint come again, since TRL mixes trees in a step."""
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-5, "token_budget": 500}
    settings |= {"max_staleness": NEVER_STALE}
    with running_service(slots=64) as address:
        new_run(address, "killed", TASKS)
        lives: list[Recorded] = []
        acknowledged: list[list[Any]] = []
        for death in (4, 99):
            run = treeroll.connect(address).run("killed")
            batches = run.batches(trees=1, ack="manual")
            publisher = Publisher(run, folder / "weights")
            life = Recorded(str(MODEL_DIR), config(**settings), batches, publisher, callbacks=[_Dies(death)])
            lives.append(life)
            if death == 4:
                with pytest.raises(KeyboardInterrupt):
                    life.train()
                state = json.loads((folder / "out" / "checkpoint-2" / STATE_FILE).read_text())
                acknowledged.append(state["acknowledged"])
            else:
                life.train(resume_from_checkpoint=last_checkpoint("out"))
        first, second = (prompts_in_passes(life) for life in lives)
        done_by_step_1 = first[0]
        assert acknowledged[0]  # what step 1 trained on for certain
        assert set(first[0] + first[1] + first[2]) - set(second[0] + second[1]) <= set(done_by_step_1)
        missed = {task.prompt for task in treeroll.read_tasks(TASKS_FILE)[:TASKS]}
        left = treeroll.connect(address).run("killed").batches(trees=1)
        seen = {prompt for life in (first, second) for step in life for prompt in step}
        seen |= {sample.prompt_text for batch in left for sample in batch.samples}
        assert not missed - seen


def prompts_in_passes(life: Recorded) -> list[list[str]]:
    """Step by step."""
    samples, steps = iter(life.handed), []
    for place, given in enumerate(life.given):
        if place % 2 == 0:
            steps.append([])
        steps[-1] += [next(samples).prompt[0]["content"] for _ in range(int(given["segment_id"].max()) + 1)]
    return steps


def test_batches_that_end_too_early_are_said(address: str, folder: Path) -> None:
    run = new_run(address, "short", 2)
    batches = run.batches(trees=1, ack="manual")
    trainer = Recorded(str(MODEL_DIR), config(max_steps=50), batches, Publisher(run, folder / "weights"))
    with pytest.raises(InvalidInput, match="the batches have ended, and TRL waits for more samples"):
        trainer.train()


def test_what_ends_the_batches_reaches_the_trainer(address: str, folder: Path) -> None:
    run = new_run(address, "hot", 2)
    batches = run.batches(trees=1, ack="manual")
    trainer = Recorded(str(MODEL_DIR), config(temperature=0.7), batches, Publisher(run, folder / "weights"))
    with pytest.raises(InvalidInput, match=r"sampled at temperature 1, and TRL divides logits by 0.7"):
        trainer.train()


@pytest.mark.parametrize(
    ("settings", "what"),
    [({"max_steps": -1}, "AsyncGRPOConfig.max_steps"), ({"token_budget": None}, "AsyncGRPOConfig.token_budget")],
)
def test_settings_that_do_not_go_with_trees_are_refused_by_name(settings: dict[str, Any], what: str) -> None:
    nothing: Any = None
    with pytest.raises(InvalidInput, match=what):
        TreerollAsyncGRPOTrainer(str(MODEL_DIR), config(**settings), nothing, nothing)

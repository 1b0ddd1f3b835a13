"""SkyRL's training loop, evaluation, estimators and losses, as they are, with a service's trees."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

pytest.importorskip("skyrl", reason="scripts/test puts it on the path")

import torch
from safetensors.torch import load_file
from skyrl.backends.skyrl_train.inference_servers.engine_utils import get_sampling_params_for_backend
from skyrl.train.config import SkyRLTrainConfig
from skyrl.train.generators.utils import concatenate_generator_outputs, prepare_generator_input
from skyrl.train.utils import validate_cfg
from skyrl.train.utils.trainer_utils import validate_generator_output
from tests.adapters.skyrl.workers import Workers
from tests.support.pages import blocks, run_block

import treeroll
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput, UnknownRun
from treeroll.integrations.rows import rows_of
from treeroll.integrations.skyrl import TreerollGenerator
from treeroll.testing.service import running_service

PAGE = "integrations/skyrl.md"
SCORER = f"python:{__name__}:zero_or_one"


def zero_or_one(prompt: str, completion: str, answer: str, extra: Any) -> float:
    """By chance, so that the samples of a tree differ: what the simulated engine says is nearly always right."""
    return float(crc32(completion.encode()) % 2)


def anything(prompt: str, completion: str, answer: str, extra: Any) -> float:
    """No two samples have the same, so that every tree teaches something."""
    return crc32(completion.encode()) / 2**32


def always_one(prompt: str, completion: str, answer: str, extra: Any) -> float:
    return 1.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_service(slots=64) as address:
        yield address


def new_run(address: str, name: str, **options: Any) -> treeroll.Run:
    return treeroll.connect(address).create_run(name, **{"recipe": "flat", "leaves": 4, "scorer": SCORER, **options})


def config(**settings: Any) -> SkyRLTrainConfig:
    settings = {
        "trainer.algorithm.advantage_estimator": "treeroll",
        "trainer.policy.model.path": str(MODEL_DIR),
        "trainer.eval_interval": -1,
        "trainer.ckpt_interval": -1,
        "trainer.resume_mode": "none",
        "trainer.train_batch_size": 2,
        "trainer.policy_mini_batch_size": 2,
        "trainer.max_training_steps": 2,
        "trainer.placement.colocate_all": False,
        "trainer.logger": "console",
        "trainer.enable_ray_gpu_monitor": False,
        "generator.inference_engine.enable_ray_prometheus_stats": False,
        "generator.n_samples_per_prompt": 4,
        "data.dataloader.num_workers": 0,
        "trainer.algorithm.use_kl_loss": False,
        **settings,
    }
    return SkyRLTrainConfig.from_cli_overrides([f"{name}={value}" for name, value in settings.items()])


class Prompts(list[dict[str, Any]]):
    """Rows as SkyRL's PromptDataset gives them."""

    def collate_fn(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return rows


def prompts(*names: str) -> Prompts:
    extras = {"reward_spec": {"method": "rule", "ground_truth": "2"}, "data_source": "sums"}
    return Prompts(
        {
            "prompt": [{"role": "user", "content": f"{name}: 1 + 1"}],
            "env_class": None,
            "env_extras": extras,
            "uid": name,
        }
        for name in names
    )


def asked(names: list[str], count: int = 4, phase: Any = "train", **sampling: Any) -> Any:
    """What SkyRL's trainer asks with: every prompt `count` times."""
    cfg = config(**{f"generator.sampling_params.{name}": value for name, value in sampling.items()})
    parameters = get_sampling_params_for_backend("vllm", cfg.generator.sampling_params)
    return prepare_generator_input(prompts(*names), count, parameters, "sums", phase, 1)[0]


def generate(generator: TreerollGenerator, *batches: Any) -> list[Any]:
    """Of all batches at once, as SkyRL's asynchronous trainer does."""

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*map(generator.generate, batches))

    return asyncio.run(all_of_them())


def test_completions_come_in_skyrls_order_with_advantages_as_rewards(address: str) -> None:
    run = new_run(address, "columns", recipe="treepo")
    generator = TreerollGenerator(config(), address, "columns", training={"weigh": "samples"})
    batches = [asked(["b", "a"]), asked(["a", "c"])]  # the same prompt again is another tree
    outputs = generate(generator, *batches)
    run.close()
    (grown,) = run.batches(trees=4)
    wanted = [
        (row.prompt_ids, row.completion_ids, row.loss_mask.tolist(), row.sample.logprobs.tolist(), row.folded.tolist())
        for row in rows_of(grown.samples, weigh="samples")
    ]
    columns = ("prompt_token_ids", "response_ids", "loss_masks", "rollout_logprobs", "rewards")
    joined = concatenate_generator_outputs(outputs)
    trained = [place for place, mask in enumerate(joined["loss_masks"]) if any(mask)]
    assert sorted(tuple(joined[column][place] for column in columns) for place in trained) == sorted(wanted)
    assert any(map(any, joined["rewards"]))
    assert joined["rollout_metrics"]["treeroll/made_up_rows"] == 16 - len(wanted)
    assert 0 < joined["rollout_metrics"]["treeroll/reward_mean"] < 1
    said = {sample.prompt_ids.tobytes(): sample.prompt_text for sample in grown.samples}
    for batch, output in zip(batches, outputs, strict=True):
        validate_generator_output(len(batch["prompts"]), output)
        assert output["trajectory_ids"] == batch["trajectory_ids"]
        for trajectory, ids, mask, reason in zip(
            batch["trajectory_ids"],
            output["prompt_token_ids"],
            output["loss_masks"],
            output["stop_reasons"],
            strict=True,
        ):
            if any(mask):
                assert said[np.int32(ids).tobytes()] == f"{trajectory.instance_id}: 1 + 1\n"
            assert (reason == "none") == (not any(mask))


class Tracker:
    """Keeps what SkyRL logs."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []

    def log(self, payload: dict[str, Any], **_: Any) -> None:
        self.logged.append(payload)

    def finish(self) -> None: ...


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata asks torch for it
def test_the_page_trains_in_skyrls_loop_evaluates_and_publishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = blocks(PAGE)
    with running_service(slots=64) as address:
        scorer = f"python:{__name__}:anything"
        replaced = {'"localhost:7070"': repr(address), '"arith"': repr(scorer), "/shared/math": str(tmp_path)}
        names = run_block(program, PAGE, replaced)
        cfg = config(**{"trainer.eval_interval": 1, "trainer.eval_before_train": False})
        cfg.data.val_data = ["a file"]
        validate_cfg(cfg)
        workers, tracker = Workers(cfg, str(MODEL_DIR)), Tracker()
        before = {name: tensor.clone() for name, tensor in workers.model.state_dict().items()}
        experiment = object.__new__(names["Experiment"])  # its own beginning reads data sets and starts engines
        trainer = experiment.get_trainer(
            cfg=cfg,
            tracker=tracker,
            tokenizer=workers.tokenizer,
            train_dataset=prompts("a", "b", "c", "d"),
            eval_dataset=prompts("e", "f"),
            inference_engine_client=None,
            generator=experiment.get_generator(cfg, workers.tokenizer, None),
            colocate_pg=None,
        )
        trainer.dispatch = workers
        asyncio.run(trainer.train())
        run = treeroll.connect(address).run("math")
        run.close()
        trained = list(run.batches(trees=2))
        status = run.weights()
    assert status.version == 2
    published = load_file(Path(status.path) / "model.safetensors")
    learned = workers.model.state_dict()
    assert all(torch.equal(published[name], learned[name]) for name in published)
    assert any(not torch.equal(published[name], before[name]) for name in published)
    assert [{sample.min_weight_version for sample in batch.samples} for batch in trained] == [{0}, {1}]
    for batch, given, logged in zip(trained, workers.given, tracker.logged, strict=True):
        arrays = batch.to_numpy()
        tokens = arrays["loss_mask"].sum()
        assert int(given["loss_mask"].sum()) == tokens
        wanted = np.sort(arrays["advantages"][arrays["loss_mask"] == 1] / tokens)  # "token_mean"
        np.testing.assert_allclose(np.sort(given["advantages"][given["loss_mask"] == 1].numpy()), wanted, rtol=1e-5)
        rewards = [sample.reward for sample in batch.samples]
        assert logged["treeroll/reward_mean"] == pytest.approx(sum(rewards) / len(rewards))
        assert 0.0 < logged["eval/all/avg_score"] < 1.0
        assert logged["eval/all/treeroll/unscored_rows"] == 0
    workers.model.load_state_dict(before)
    expected_loss(workers.model, trained[0]).backward()
    for name, weights in workers.model.named_parameters():
        scale = float(weights.grad.abs().max())
        torch.testing.assert_close(workers.gradients[0][name], weights.grad, rtol=1e-3, atol=1e-4 * scale)


def expected_loss(model: Any, batch: Any) -> torch.Tensor:
    """Of the policy's own tokens, one sample at a time without padding."""
    total, tokens = torch.zeros(()), 0
    for sample in batch.samples:
        ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
        logits = model(ids).logits[0, len(sample.prompt_ids) - 1 : -1]
        picked = logits.log_softmax(-1).gather(-1, ids[0, len(sample.prompt_ids) :, None])[:, 0]
        total, tokens = total - (picked * torch.tensor(sample.advantages)).sum(), tokens + len(picked)
    return total / tokens


def test_evaluations_have_rewards_and_a_run_of_their_own(address: str) -> None:
    new_run(address, "training")
    run = new_run(address, "held-out", leaves=2, temperature=0.5)
    generator = TreerollGenerator(config(), address, "training", evaluation="held-out")
    batch = asked(["a", "b"], count=2, phase="eval")
    (output,) = generate(generator, batch)
    validate_generator_output(4, output)
    grown = next(run.batches(trees=2))
    rewards = {tuple(sample.completion_ids.tolist()): sample.reward for sample in grown.samples}
    assert output["rewards"] == [rewards[tuple(response)] for response in output["response_ids"]]
    (short,) = generate(generator, asked(["a"], count=3, phase="eval"))
    assert short["rewards"][2] == 0.0
    assert short["rollout_metrics"]["treeroll/unscored_rows"] == 1
    with pytest.raises(InvalidInput, match="SkyRL evaluates, and there is no run for that"):
        generate(TreerollGenerator(config(), address, "training"), batch)


def test_a_tree_with_too_few_samples_is_made_up_by_masked_rows(address: str) -> None:
    new_run(address, "three", leaves=3)
    (output,) = generate(TreerollGenerator(config(), address, "three"), asked(["a", "b"]))
    validate_generator_output(8, output)
    assert [place for place in range(8) if not any(output["loss_masks"][place])] == [3, 7]
    assert not any(output["rewards"][3] + output["rewards"][7])
    assert output["rollout_metrics"]["treeroll/made_up_rows"] == 2


def test_prompts_without_samples_are_masked_and_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new_run(address, "dropped", scorer=f"python:{__name__}:always_one", drop=["zero_advantage"])
    said: list[str] = []
    monkeypatch.setattr("treeroll.integrations.skyrl.log.warning", lambda text, *values: said.append(text % values))
    (output,) = generate(TreerollGenerator(config(), address, "dropped"), asked(["a", "b"]))
    validate_generator_output(8, output)
    assert not any(map(any, output["loss_masks"] + output["rewards"]))
    assert output["rollout_metrics"]["treeroll/made_up_rows"] == 8
    (sentence,) = said
    assert sentence.startswith("2 of 2 prompts have no samples; the first, 'a-")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (
            {"trainer.algorithm.advantage_estimator": "grpo"},
            "=grpo would take advantages for rewards",
        ),
        ({"trainer.algorithm.use_kl_in_reward": True}, "use_kl_in_reward does not go with trees: it would subtract"),
        ({"trainer.algorithm.advantage_batch_normalize": True}, "advantage_batch_normalize does not go with trees"),
        ({"trainer.algorithm.zero_variance_filter": True}, r"drop=\['zero_advantage'\]"),
        ({"generator.step_wise_trajectories": True}, "step_wise_trajectories does not go with trees"),
        ({"trainer.eval_interval": 5}, "trainer.eval_interval=5 wants a run to evaluate in"),
    ],
)
def test_settings_that_do_not_go_with_trees_are_refused_by_name(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        TreerollGenerator(config(**settings), "nowhere:1", "a run")


def test_runs_that_do_not_fit_are_refused(address: str) -> None:
    with pytest.raises(UnknownRun, match="nobody's"):
        TreerollGenerator(config(), address, "nobody's")
    new_run(address, "five", leaves=5)
    generator = TreerollGenerator(config(), address, "five")
    with pytest.raises(InvalidInput, match="has 5 samples, and the trainer wants 4 for each prompt"):
        generate(generator, asked(["a"]))
    with pytest.raises(InvalidInput, match=r"sampled at temperature 1, and SkyRL divides logits by 0.5"):
        generate(generator, asked(["a"], count=5, temperature=0.5))
    uneven = asked(["a", "b"])
    for column in ("prompts", "env_classes", "env_extras", "trajectory_ids"):
        uneven[column] = uneven[column][:-1]
    with pytest.raises(InvalidInput, match=r"prompts come \[3, 4\] times in one batch"):
        generate(generator, uneven)
    nameless = asked(["a"]) | {"trajectory_ids": None}
    with pytest.raises(InvalidInput, match="prompts need trajectory_ids"):
        generate(generator, nameless)

"""verl's data classes and estimators, as they are, with a run's trees."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl", reason="scripts/test puts it on the path")

import torch
from omegaconf import OmegaConf
from tests.support.pages import blocks, lead_to, run_block, write_demo_tasks
from verl import DataProto
from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla, get_adv_estimator_fn

import treeroll
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.integrations.rows import rows_of
from treeroll.integrations.verl import ESTIMATOR, TreerollManager, data_proto
from treeroll.testing.service import running_service

PAGE = "integrations/verl.md"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_service(slots=64) as address:
        yield address


def new_run(address: str, name: str, tasks: int, **options: Any) -> treeroll.Run:
    options = {"recipe": "treepo", "leaves": 4, "scorer": "arith", **options}
    run = treeroll.connect(address).create_run(name, **options)
    if tasks:
        run.submit(treeroll.read_tasks(TASKS_FILE)[:tasks])
        run.close()
    return run


def test_a_batch_is_verls_batch_with_advantages_as_rewards(address: str) -> None:
    batch = next(new_run(address, "columns", 3).batches(trees=3))
    data = data_proto(rows_of(batch.samples), prompt_length=64, response_length=512)
    data.check_consistency()
    arrays = batch.to_numpy()
    assert len(data) == len(batch)
    assert data.batch["input_ids"].shape == (len(batch), 64 + 512)
    assert list(data.non_tensor_batch["uid"]) == [sample.tree_id for sample in batch.samples]
    width = arrays["completion_ids"].shape[1]
    for ours, theirs in (
        ("completion_ids", "responses"),
        ("loss_mask", "response_mask"),
        ("sampling_per_token_logps", "rollout_log_probs"),
        ("advantages", "rm_scores"),
    ):
        np.testing.assert_array_equal(data.batch[theirs][:, :width].numpy(), arrays[ours])
        assert not data.batch[theirs][:, width:].any()
    positions, mask = data.batch["position_ids"], data.batch["attention_mask"]
    for row, real in zip(positions, mask, strict=True):
        assert row[real.bool()].tolist() == list(range(int(real.sum())))


def test_the_estimator_hands_advantages_on_to_verls_loss(address: str) -> None:
    batch = next(new_run(address, "loss", 2).batches(trees=2))
    data = data_proto(rows_of(batch.samples))
    mask = data.batch["response_mask"]
    advantages, returns = get_adv_estimator_fn(ESTIMATOR)(
        token_level_rewards=data.batch["rm_scores"], response_mask=mask, config=None, index=data.non_tensor_batch["uid"]
    )
    assert torch.equal(advantages, returns)
    np.testing.assert_array_equal(advantages.numpy(), batch.to_numpy()["advantages"])
    config = OmegaConf.create({"clip_ratio": 0.2, "clip_ratio_c": 3.0, "clip_ratio_low": 0.2, "clip_ratio_high": 0.2})
    old = data.batch["rollout_log_probs"]
    new = (old + 0.05).requires_grad_()
    loss, _ = compute_policy_loss_vanilla(old, new, advantages, mask, "token-mean", actor_config(config))
    ratio = torch.exp(new - old)
    ours = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    assert float(loss.detach()) == pytest.approx(float(((ours * mask).sum() / mask.sum()).detach()), rel=1e-5)


def actor_config(config: Any) -> Any:
    from verl.workers.config import ActorConfig

    return ActorConfig(
        strategy="fsdp",
        ppo_mini_batch_size=1,
        ppo_micro_batch_size_per_gpu=1,
        rollout_n=1,
        **{name: config[name] for name in ("clip_ratio", "clip_ratio_c", "clip_ratio_low", "clip_ratio_high")},
    )


def prompts_of(names: list[str], count: int) -> DataProto:
    """What verl's trainer asks with: every prompt `count` times."""
    columns = {
        "uid": [name for name in names for _ in range(count)],
        "raw_prompt": [[{"role": "user", "content": f"{name}: 1 + 1"}] for name in names for _ in range(count)],
        "reward_model": [{"ground_truth": "2", "style": "rule"} for _ in names for _ in range(count)],
        "data_source": ["sums" for _ in names for _ in range(count)],
    }
    arrays = {}
    for name, values in columns.items():
        arrays[name] = np.empty(len(values), object)
        arrays[name][:] = values
    return DataProto.from_dict(tensors={"dummy": torch.zeros(len(names) * count, 1)}, non_tensors=arrays)


def settings(address: str, run: str, **rollout: Any) -> Any:
    rollout = {"temperature": 1.0, "prompt_length": 64, "response_length": 600, **rollout}
    return OmegaConf.create(
        {
            "treeroll": {"address": address, "run": run},
            "algorithm": {"use_kl_in_reward": False},
            "actor_rollout_ref": {"rollout": rollout},
        }
    )


def test_the_manager_answers_verls_prompts_in_their_order(address: str) -> None:
    new_run(address, "manager", 0, recipe="flat")
    manager = TreerollManager.create(config=settings(address, "manager"), llm_client=None)
    for _ in range(2):  # the same prompts again are other trees
        prompts = prompts_of(["b", "a", "c"], 4)
        output = manager.generate_sequences(prompts)
        joined = prompts.union(output)
        assert list(joined.non_tensor_batch["uid"]) == list(prompts.non_tensor_batch["uid"])
        assert output.batch["responses"].shape == (12, 600)
        assert all(output.batch["response_mask"].any(1))
        for rows in joined.chunk(3):
            assert len({tuple(row) for row in rows.batch["prompts"].tolist()}) == 1
        assert output.meta_info["timing"]


def test_the_manager_refuses_what_does_not_go_with_trees(address: str) -> None:
    new_run(address, "manager-5", 0, recipe="flat", leaves=5)
    manager = TreerollManager.create(settings(address, "manager-5"))
    with pytest.raises(InvalidInput, match="has 5 samples, and the trainer wants 4 for each prompt"):
        manager.generate_sequences(prompts_of(["a"], 4))
    with pytest.raises(InvalidInput, match=r"sampled at temperature 1, and verl divides logits by 0.5"):
        TreerollManager.create(settings(address, "manager-5", temperature=0.5)).generate_sequences(prompts_of(["a"], 5))
    with pytest.raises(InvalidInput, match=r"a prompt or response of .* verl's length for it is 8"):
        TreerollManager.create(settings(address, "manager-5", response_length=8)).generate_sequences(
            prompts_of(["a"], 5)
        )
    wrong = settings(address, "manager-5")
    wrong.algorithm.use_kl_in_reward = True
    with pytest.raises(InvalidInput, match="use_kl_in_reward would subtract from advantages"):
        TreerollManager.create(wrong)
    del wrong.treeroll
    with pytest.raises(InvalidInput, match=r"\+treeroll.address=HOST:PORT"):
        TreerollManager.create(wrong)


def test_a_tree_with_too_few_samples_is_made_up_by_masked_rows(address: str) -> None:
    new_run(address, "manager-3", 0, recipe="flat", leaves=3)
    output = TreerollManager.create(settings(address, "manager-3")).generate_sequences(prompts_of(["a", "b"], 4))
    assert len(output) == 8
    masked = [place for place in range(8) if not output.batch["response_mask"][place].any()]
    assert masked == [3, 7]
    assert not output.batch["rm_scores"][masked].any()


def test_the_page_runs(address: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(PAGE)
    monkeypatch.chdir(tmp_path)
    write_demo_tasks(tmp_path, 4)
    lead_to(address, monkeypatch)
    assert run_block(block, PAGE)["advantages"].any()

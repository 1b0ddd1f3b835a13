"""`treeroll bench learning`: the pieces fit, on few tasks and short trainings, whose figures mean nothing."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from treeroll.bench.learning import curves, noise_bench, plots  # noqa: E402
from treeroll.bench.learning.closed_form import measure as closed_form  # noqa: E402
from treeroll.bench.learning.families import BASELINE, FAMILIES, Credit, Family, chosen  # noqa: E402
from treeroll.bench.learning.gradients import factors, gradient, move  # noqa: E402
from treeroll.bench.learning.growing import Grower  # noqa: E402
from treeroll.bench.learning.network import Network  # noqa: E402
from treeroll.client import TreeRecord  # noqa: E402
from treeroll.errors import InvalidInput  # noqa: E402

FAMILY = FAMILIES["subset_sum"]
TREE = "4 x 4 at 3/4"


def silent(_: str) -> None:
    pass


def arms(*names: str) -> list:
    return chosen(FAMILY, ";".join(names))


async def test_credit_and_gradients_of_records_are_those_of_their_samples() -> None:
    train, held_out = FAMILY.split()
    assert not {task.id for task in train} & {task.id for task in held_out}
    arm, network = FAMILY.arms()[TREE], Network.load(FAMILY.model)
    async with Grower(FAMILY, network) as grower:
        grown = await grower.grow(arm, FAMILY.some(train, 3), seed=1)
        again = await grower.grow(arm, FAMILY.some(train, 3), seed=1)
    texts = [
        [sample.completion_ids.tolist() for tree in one.trees for sample in tree.samples] for one in (grown, again)
    ]
    assert texts[0] == texts[1]
    credit = Credit("ancestors", weighting="path")
    for tree in grown.trees:
        assert 4 <= len(tree.samples) <= 16
        assert tree.ledger.spent < sum(len(sample.completion_ids) for sample in tree.samples)
        assert sum(sample.path_weight for sample in tree.samples) == pytest.approx(1)
        for values, sample in zip(factors(tree, credit), tree.samples, strict=True):
            given = np.zeros(len(values)) if sample.advantages is None else sample.path_weight * sample.advantages
            assert values == pytest.approx(given, abs=1e-6)
        found, plain = gradient(network, tree, credit), by_sample(network, tree, credit)
        assert np.allclose(found, plain, atol=1e-5 * max(1.0, float(np.abs(plain).max())))
    assert any(np.any(gradient(network, tree, credit)) for tree in grown.trees)


def by_sample(network: Network, tree: TreeRecord, credit: Credit) -> np.ndarray:
    """The gradient with every sample forwarded by itself."""
    parameters = [weight.requires_grad_(True) for weight in network.weights.values()]
    total = torch.zeros(())
    for sample, values in zip(tree.samples, factors(tree, credit), strict=True):
        ids = torch.tensor([*sample.prompt_ids.tolist(), *sample.completion_ids.tolist()])
        logprobs = network.logits(ids[None, :-1])[0].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        total = total + (logprobs[len(sample.prompt_ids) - 1 :] * torch.from_numpy(values).float()).sum()
    found = torch.autograd.grad(total, parameters)
    for weight in parameters:
        weight.requires_grad_(False)
    return torch.cat([part.flatten() for part in found]).numpy()


def test_a_step_has_its_length_and_direction() -> None:
    network = Network.load(FAMILY.model)
    before = torch.cat([weight.flatten() for weight in network.weights.values()])
    direction = np.random.default_rng(1).normal(size=network.size).astype(np.float32)
    move(network, direction, 0.5)
    moved = (torch.cat([weight.flatten() for weight in network.weights.values()]) - before).numpy()
    assert np.linalg.norm(moved) == pytest.approx(0.5, rel=1e-4)
    assert moved @ direction == pytest.approx(0.5 * np.linalg.norm(direction), rel=1e-4)
    move(network, np.zeros(network.size, np.float32), 0.5)


async def test_noise_of_two_arms(tmp_path: Path) -> None:
    found = await noise_bench.measure(FAMILY, arms(TREE, "flat + neyman"), tasks=2, seeds=1, samples=16, note=silent)
    table = found.table()
    assert [row[0] for row in table.rows] == [BASELINE, BASELINE, TREE, TREE, TREE, "flat + neyman"]
    flat, tree = (found.rounds[name][0]["tokens"] for name in (BASELINE, TREE))
    assert tree < flat
    ratio = found.efficiency_by_task(found.arms[0], found.arms[0].credits[0])
    assert ratio.value == pytest.approx(1) or math.isnan(ratio.value)
    found.write(tmp_path / "noise.json")
    assert json.loads((tmp_path / "noise.json").read_text())["reference"]["all"]
    pytest.importorskip("matplotlib")
    assert plots.draw(found, tmp_path / "noise.png")


async def test_curves_of_two_arms_leave_the_network_as_it_was(tmp_path: Path) -> None:
    plan = curves.Plan(steps=2, tokens_per_step=2000, step_length=0.03, look_every=2, held_out=2, samples=1)
    found = await curves.measure(FAMILY, arms(TREE), plan, seeds=1, note=silent)
    assert list(found.rounds) == ["flat, grpo", f"{TREE}, ancestors, path weights"]
    for rounds in found.rounds.values():
        # The same held-out samples of the same weights.
        assert [one["reward@0"] for one in rounds] == [one["reward@0"] for one in found.rounds["flat, grpo"]]
        assert all(one["tokens@2"] > one["tokens@0"] == 0 for one in rounds)
    assert len(found.table().rows) == 2
    pytest.importorskip("matplotlib")
    assert plots.draw(found, tmp_path / "curves.png")


def test_an_unknown_arm_is_named() -> None:
    with pytest.raises(InvalidInput, match="there is no arm 'x'"):
        chosen(FAMILY, "x")


def test_the_closed_form_has_a_row_per_shape_and_credit() -> None:
    found = closed_form(("rloo",), trees=2)
    assert len(found.table().rows) == 6
    assert found.as_json()["rounds"]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_arm_of_a_family_is_a_run_that_can_be(family: Family) -> None:
    from treeroll.policies import recipes
    from treeroll.policies.resolve import resolve, shape

    for arm in family.arms().values():
        settings = family.shared() | arm.settings
        names = ("leaves", "segment_tokens", "max_depth", "max_tokens")
        limits = shape(recipes.get(arm.recipe), **{name: settings[name] for name in names if name in settings})
        sections = {name: settings[name] for name in ("segment", "branch", "prune") if name in settings}
        assert resolve(arm.recipe, limits, sections).policies.branch.max_leaves <= 16
        assert limits == replace(limits, max_tokens=family.max_tokens)

"""What a replica asks of Ray, and what is said while no node has it."""

import pytest

from treeroll.config import parse
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.ray_room import NODE_LABEL, Needs, needs_of, shortage, spreads

NODES = {"a": {"CPU": 4.0, "GPU": 1.0}, "b": {"CPU": 32.0, "GPU": 8.0}}
FREE = {"a": {"CPU": 4.0}, "b": {"CPU": 2.0, "GPU": 4.0}}
THERE = "the Ray cluster has 2 nodes with 36 CPU and 9 GPU, of which 6 CPU and 4 GPU are free"
GPUS = {"GPU": 8.0}


def generator(**settings: object) -> GeneratorConfig:
    return parse(GeneratorConfig, settings, "section 'generator'")


def test_a_pool_asks_for_what_its_settings_say() -> None:
    own = {"num_cpus": 6, "memory": 2**34, "resources": {"fast": 1}, "label_selector": {"zone": "west"}}
    large = {"model": "/m", "tensor_parallel": 4, "ray": own}
    pools = generator(pools={"large": large, "small": {"model": "/s", "device": "cpu"}}).fleet()
    assert needs_of(pools["large"], GPUS).options(spread=True) == {
        "num_cpus": 6.0,
        "num_gpus": 4,
        "memory": 2.0**34,
        "resources": {"fast": 1.0},
        "label_selector": {"zone": "west"},
        "scheduling_strategy": "SPREAD",
    }
    bare = {"num_cpus": 1, "num_gpus": 0, "scheduling_strategy": "DEFAULT"}
    assert needs_of(pools["small"], GPUS).options(spread=False) == bare


def test_a_pool_on_gpus_wants_them_though_nobody_has_any_yet() -> None:
    assert [needs_of(generator(device=device), {}).gpus for device in ("auto", "gpu", "cpu")] == [0, 1, 0]
    assert [needs_of(generator(device=device), GPUS).gpus for device in ("auto", "gpu", "cpu")] == [1, 1, 0]
    assert needs_of(generator(device="gpu", engine="simulated"), GPUS) == Needs(0.1, 0)


def test_replicas_are_spread_over_a_cluster_unless_they_are_to_be_packed() -> None:
    chosen = {how: generator(ray={"scheduling": how}) for how in ("auto", "spread", "pack")}
    assert {how: spreads(config, cluster=True) for how, config in chosen.items()} == {
        "auto": True, "spread": True, "pack": False,
    }  # fmt: skip
    assert {how: spreads(config, cluster=False) for how, config in chosen.items()} == {
        "auto": False, "spread": True, "pack": False,
    }  # fmt: skip


def test_nodes_that_are_left_are_asked_for_by_no_replica() -> None:
    options = Needs(1, 0, labels={"zone": "west"}).options(spread=True, avoided="ba")
    assert options["label_selector"] == {"zone": "west", NODE_LABEL: "!in(a,b)"}


def test_gpus_of_one_replica_are_on_one_node_and_those_of_several_do_not_add_up() -> None:
    """One actor has them all, in no placement group; nothing of this has run on GPUs."""
    nodes = {"a": {"CPU": 64.0, "GPU": 8.0}, "b": {"CPU": 64.0, "GPU": 8.0}}
    whole, larger = (needs_of(generator(tensor_parallel=gpus), {"GPU": 16.0}) for gpus in (8, 16))
    assert all(map(whole.fit, nodes.values()))
    assert whole.options(spread=True) == {"num_cpus": 1, "num_gpus": 8, "scheduling_strategy": "SPREAD"}
    assert not any(map(larger.fit, nodes.values()))
    assert shortage(larger, nodes, nodes) == (
        "it needs 1 CPU and 16 GPU on one node, and none is so large: the Ray cluster has 2 nodes with 128 CPU and 16 "
        "GPU, of which 128 CPU and 16 GPU are free"
    )


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        (Needs(1, 16), f"it needs 1 CPU and 16 GPU on one node, and none is so large: {THERE}"),
        (Needs(8, 0), f"it needs 8 CPU and 0 GPU on one node, and none has so much free: {THERE}"),
        (
            Needs(1, 2, labels={"zone": "west"}),
            f"it needs 1 CPU and 2 GPU, label zone=west on one node, and Ray has not found one: {THERE}",
        ),
        (
            Needs(1, 0, {"memory": 2.0**35, "fast": 1.0}),
            f"it needs 1 CPU and 0 GPU, 32 GiB of memory, 1 fast on one node, and none is so large: {THERE}",
        ),
    ],
)
def test_what_is_missing_is_said_with_what_there_is(needs: Needs, told: str) -> None:
    assert shortage(needs, NODES, FREE) == told


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_cpu": 1},
        {"scheduling": "STRICT_PACK"},
        {"resources": {"GPU": 1}},
        {"resources": {"fast": 0}},
        {"label_selector": {"zone": "not west"}},
        {"label_selector": {"zone": "in(a"}},
    ],
)
def test_what_ray_does_not_take_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        generator(ray=wrong)


def test_conditions_of_labels_are_those_of_ray() -> None:
    selector = {"zone": "!in(a, b)", "kind": "!spot", "size": "large"}
    assert generator(ray={"label_selector": selector}).ray.label_selector == selector

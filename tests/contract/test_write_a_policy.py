"""docs/write-a-policy.md does what it says: its blocks are installed and run as they stand."""

import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from treeroll.cli.main import app
from treeroll.policies import plugins
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.simulation.world import World

DOC = Path(__file__).parents[2] / "docs" / "write-a-policy.md"
POLICY, TEST = re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.M | re.S)
PROJECT = re.search(r"^```toml\n(.*?)^```", DOC.read_text(), re.M | re.S)[1]
# What pip asks of the build backend that the page names, without the network.
BUILD = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
LIMITS = Limits(leaves=8, segment_tokens=32, max_depth=4, max_tokens=128)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with what the page tells people to write, built and unpacked as pip does."""
    project, built, site = (tmp_path_factory.mktemp(name) for name in ("project", "built", "site"))
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "unsure_policy.py").write_text(POLICY)
    subprocess.run([sys.executable, "-c", BUILD, str(built)], cwd=project, check=True)
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


@pytest.fixture(autouse=True)
def installed(site, monkeypatch):
    """The distribution can be imported, and its entry points are found."""
    monkeypatch.syspath_prepend(site)
    plugins.declared.cache_clear()
    yield
    plugins.declared.cache_clear()
    sys.modules.pop("unsure_policy", None)


def test_the_distribution_of_the_page_is_whole(site):
    stated = tomllib.loads(PROJECT)
    assert {"requires", "build-backend"} <= stated["build-system"].keys()
    assert (site / "unsure_policy.py").read_text() == POLICY
    found = metadata.distribution("unsure-policy")
    assert found.version == stated["project"]["version"]
    assert found.requires == ["treeroll"]
    assert [point.name for point in found.entry_points] == ["branch.unsure"]


def test_the_policy_has_fewer_than_sixty_lines():
    assert len(POLICY.splitlines()) < 60


def test_the_test_of_the_page_passes(tmp_path):
    written = tmp_path / "written_test.py"
    written.write_text(TEST)
    runpy.run_path(str(written))["test_unsure_conforms"]()


def test_a_run_grows_trees_with_it():
    policies = build_policies("flat", LIMITS, {"branch": {"name": "unsure", "threshold": -0.29}})
    world = World(policies=policies, limits=LIMITS, end_share=0.0)
    leaves = [len(live.tree.leaves) for live in world.run().values()]
    assert max(leaves) > min(leaves)
    assert all(2 <= count <= 8 for count in leaves)


def test_the_command_of_the_page_shows_it():
    shown = CliRunner().invoke(app, ["policies", "show", "unsure"])
    assert shown.exit_code == 0
    assert "threshold" in shown.output
    assert "-0.5" in shown.output
    assert "A path becomes two after a segment of low mean log probability" in shown.output

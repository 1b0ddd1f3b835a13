"""docs/write-a-policy.md does what it says: its blocks are installed and run as they stand."""

import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
from tests.support.distribution import install
from typer.testing import CliRunner

from treeroll.cli.main import app
from treeroll.policies import plugins
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.simulation.world import World

DOC = Path(__file__).parents[2] / "docs" / "write-a-policy.md"
POLICY, TEST = re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.M | re.S)
POINTS = tomllib.loads(re.search(r"^```toml\n(.*?)^```", DOC.read_text(), re.M | re.S)[1])
LIMITS = Limits(leaves=8, segment_tokens=32, max_depth=4, max_tokens=128)


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """What the page tells people to write."""
    monkeypatch.syspath_prepend(tmp_path)
    points = POINTS["project"]["entry-points"]["treeroll.policies"]
    install(tmp_path, "unsure-policy", points, {"unsure_policy": POLICY})
    plugins.declared.cache_clear()
    yield
    plugins.declared.cache_clear()
    sys.modules.pop("unsure_policy", None)


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

"""docs/algorithms.md keeps up with the registry."""

import re
from pathlib import Path

from treeroll.policies import registry

DOC = Path(__file__).parents[2] / "docs" / "algorithms.md"


def test_every_estimator_has_a_row_and_every_row_an_estimator() -> None:
    credit = DOC.read_text().partition("## Credit")[2].partition("### What tokens weigh")[0]
    rows = re.findall(r"^\| `(\w+)` \|", credit, re.MULTILINE)
    assert sorted(rows) == sorted(policy.name for policy in registry.POLICIES["advantage"])

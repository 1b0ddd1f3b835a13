"""What a segment costs the core does not depend on how many trees grow beside its own."""

from functools import partial

import pytest

from treeroll.bench.decisions import Lines
from treeroll.core.step import step
from treeroll.simulation import world
from treeroll.simulation.world import World


@pytest.mark.parametrize("recipe", ["treepo", "dora"])
def test_with_forty_times_the_trees_a_segment_runs_no_more_lines(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lines_per_segment(trees: int) -> float:
        meter = Lines()
        monkeypatch.setattr(world, "step", partial(meter.measure, step))
        grown = World(recipe=recipe, tasks=trees, slots=8 * trees).run()
        assert len(grown) == trees
        return sum(meter.calls) / sum(len(live.tree.nodes) for live in grown.values())

    assert lines_per_segment(80) < 1.05 * lines_per_segment(2)

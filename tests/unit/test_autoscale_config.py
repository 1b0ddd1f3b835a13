"""What the settings of autoscaling may say, and which contradict each other."""

from typing import Any

import pytest

from treeroll.autoscale.terms import Terms
from treeroll.cli.main import app
from treeroll.config import parse
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.service import ServiceConfig

BOUNDS = {"min": 1, "max": 4}


def generator(**settings: Any) -> Any:
    return parse(ServiceConfig, {"generator": settings}, "service configuration").generator


def test_it_is_off_unless_there_is_a_most() -> None:
    assert generator(replicas=3).autoscaled(0.8) == {}
    assert generator(replicas=3).most_replicas == 3


def test_each_pool_has_terms_of_its_own() -> None:
    pools = {
        "small": {"model": str(MODEL_DIR), "autoscale": {"min": 0, "max": 8, "step": 2}, "slots": 16},
        "large": {"model": str(MODEL_DIR), "replicas": 2},
    }
    config = generator(pools=pools)
    assert config.autoscaled(0.9) == {"small": Terms(0, 8, 2, kv_share=0.9, slots=16)}
    assert config.most_replicas == 10


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"autoscale": {"min": 5, "max": 4}}, "autoscale.min is 5, more than autoscale.max, 4"),
        ({"autoscale": {"step": 2}}, "autoscale.step is set without autoscale.max, so it says nothing"),
        ({"autoscale": {"min": 0}}, "autoscale.min is set without autoscale.max, so it says nothing"),
        (
            {"autoscale": {**BOUNDS, "panic_s": 60}},
            "autoscale.panic_s is 60, and must be shorter than autoscale.stable_s",
        ),
        ({"autoscale": BOUNDS, "replicas": 8}, "replicas is 8, and must be from autoscale.min, 1, to .max, 4"),
        (
            {"autoscale": {"min": 0, "max": 4}, "ready_replicas": 1},
            "autoscale.min is 0 and ready_replicas is 1: a pool that may have no replica cannot be waited for",
        ),
        (
            {"pools": {"small": {"model": str(MODEL_DIR), "autoscale": BOUNDS, "replicas": 8}}},
            "generator.pools.small: replicas is 8, and must be from autoscale.min, 1, to .max, 4",
        ),
    ],
)
def test_settings_that_contradict_are_refused_by_name_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        generator(**settings)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_command_ends_with_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code = app.run(["serve", "--set", "generator.autoscale.min=5", "--set", "generator.autoscale.max=4"])
    told = capsys.readouterr()
    assert (code, told.err.count("\n")) == (2, 1)
    assert "autoscale.min is 5, more than autoscale.max, 4" in told.err

"""docs/settings.md is what the models of configuration say."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from treeroll.cli import settings_page
from treeroll.config import BudgetConfig, CoordinatorConfig, RunConfig, ScorersConfig, StoreConfig, TasksConfig
from treeroll.generator.config import GeneratorConfig, SimulatedLatency

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
MODELS = [
    BudgetConfig, CoordinatorConfig, GeneratorConfig, RunConfig, ScorersConfig, SimulatedLatency, StoreConfig,
    TasksConfig,
]  # fmt: skip


def test_the_page_is_current() -> None:
    made = settings_page.page()
    assert PAGE.read_text() == made, "run: python -m treeroll.cli.settings_page docs/settings.md"


@pytest.mark.parametrize("model", MODELS)
def test_every_key_says_what_it_means(model: type[BaseModel]) -> None:
    sections = {name for name, field in model.model_fields.items() if settings_page._is_model(field)}
    assert set(model.model_fields) - sections <= settings_page.docstrings(model).keys()


def test_every_key_is_on_the_page() -> None:
    page = settings_page.page()
    for model in MODELS:
        for name in model.model_fields:
            assert f"| `{name}` |" in page

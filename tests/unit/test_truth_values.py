"""True and false are no numbers: in YAML they are also written yes, no, on and off."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from treeroll.cli.settings import rollout_settings
from treeroll.config import RunConfig, TasksConfig
from treeroll.errors import InvalidInput
from treeroll.policies.registry import POLICIES
from treeroll.service import ServiceConfig


def models() -> Iterator[type[BaseModel]]:
    """All that is read from settings, sections of sections too."""
    waiting = [RunConfig, TasksConfig, ServiceConfig, *(policy.Params for kind in POLICIES.values() for policy in kind)]
    while waiting:
        yield (model := waiting.pop())
        kinds = [field.annotation for field in model.model_fields.values()]
        waiting += [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def found(model: type[BaseModel], name: str, value: object) -> list[object]:
    """What a field becomes, or its entries; nothing if it refuses the value."""
    try:
        made = getattr(model.model_validate({name: value}), name)
    except ValidationError:
        return []
    return list(made) if isinstance(made, list | tuple) else [made]


@pytest.mark.parametrize("truth", [True, False, np.True_], ids=repr)
def test_no_setting_takes_true_or_false_for_a_number(truth: object) -> None:
    taken = [
        f"{model.__name__}.{name}"
        for model in models()
        for name in model.model_fields
        for entry in (*found(model, name, truth), *found(model, name, [truth]))
        if isinstance(entry, int | float) and not isinstance(entry, bool)
    ]
    assert taken == []


@pytest.mark.parametrize("line", ["leaves: yes", "temperature: on", "stop_token_ids: [2, yes]"])
def test_a_file_that_says_yes_for_a_number_is_refused(tmp_path: Path, line: str) -> None:
    (file := tmp_path / "s.yaml").write_text(f"run:\n  {line}\n")
    with pytest.raises(InvalidInput, match=f"section 'run': '{line.partition(':')[0]}' should be a number, not true"):
        rollout_settings(file, [], {})

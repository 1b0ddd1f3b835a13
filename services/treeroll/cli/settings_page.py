"""The page of all settings, made from the models that read them.

python -m treeroll.cli.settings_page docs/settings.md
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from treeroll.config import RunConfig, TasksConfig
from treeroll.demo import MODEL_DIR
from treeroll.service import ServiceConfig
from treeroll.whole_file import whole_file

HEAD = """# Settings

<!-- Made by `python -m treeroll.cli.settings_page docs/settings.md`; change the models of configuration instead. -->

One file, YAML, TOML or JSON, for `treeroll rollout` and `treeroll serve`: `--config FILE`. Single keys:
`--set section.key=value`, which come after the file. Sections `run` and `tasks` are for `rollout`: a service's runs say
theirs when a client creates them, `client.create_run(id, leaves=8, ...)`. Unknown keys are refused.

```yaml
run:
  recipe: treepo
  leaves: 16
  max_tokens: 1024
  scorer: math
  budget: {task_tokens: 16000}
generator:
  model: /models/my-model
  replicas: 8
store:
  dir: /var/lib/treeroll
  durability: always
```
"""


def page() -> str:
    """The page."""
    sections: dict[str, type[BaseModel]] = {"run": RunConfig, "tasks": TasksConfig}
    sections |= {name: _model(field) for name, field in ServiceConfig.model_fields.items() if _is_model(field)}
    return "\n".join([HEAD, *(line for name, model in sections.items() for line in _section(name, model))])


def _section(name: str, model: type[BaseModel]) -> Iterator[str]:
    says = docstrings(model)
    yield from (f"## {name}", "", " ".join((model.__doc__ or "").split()), "")
    yield from ("| key | type and bounds | default | meaning |", "|---|---|---|---|")
    inner = []
    for key, field in model.model_fields.items():
        if _is_model(field):
            inner.append((f"{name}.{key}", _model(field)))
            yield f"| `{key}` | section | | see [{name}.{key}](#{_anchor(f'{name}.{key}')}) |"
        else:
            yield f"| `{key}` | {_type(field)} | {_default(field)} | {says.get(key, '')} |"
    yield ""
    for key, below in inner:
        yield from _section(key, below)


def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """What stands below each field of the model, on one line."""
    found: dict[str, str] = {}
    tree = ast.parse(inspect.getsource(model))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    for field, below in pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[field.target.id] = " ".join(str(below.value.value).split()).replace("|", "\\|")
    return found


def _is_model(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _model(field: FieldInfo) -> type[BaseModel]:
    if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
        raise TypeError(f"{field} is no section")
    return field.annotation


def _type(field: FieldInfo) -> str:
    text = _named(field.annotation)
    bounds = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(limit, name):g}"
        for limit in (*field.metadata, *_inner(field.annotation))
        for name, sign in bounds.items()
        if getattr(limit, name, None) is not None and getattr(limit, name) < 2**62
    ]
    return f"{text}, {', '.join(limits)}" if limits else text


def _inner(annotation: Any) -> Iterator[Any]:
    """Bounds inside of a union, as of `Amount | None`."""
    for part in get_args(annotation):
        yield from getattr(part, "__metadata__", ())
        for limit in getattr(part, "__metadata__", ()):
            yield from getattr(limit, "metadata", ())


def _named(annotation: Any) -> str:
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) is tuple:
        return f"list of {_named(get_args(parts[0])[0] if hasattr(parts[0], '__metadata__') else parts[0])}"
    if len(parts) == 1 and hasattr(parts[0], "__metadata__"):  # Annotated[int, ...] | None
        return _named(get_args(parts[0])[0])
    if len(parts) > 1 and get_origin(annotation) in (Union, UnionType):
        return " or ".join(map(_named, parts))
    text = re.sub(r"typing\.|pathlib\.|datetime\.(?=date)", "", str(annotation))
    text = re.sub(r"<class '([\w.]*\.)?(\w+)'>", r"\2", text)
    text = re.sub(r"Literal\[(.*?)\]", lambda found: " or ".join(found[1].replace("'", "`").split(", ")), text)
    return text.replace(" | None", "").replace("|", "or")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True) if not field.is_required() else None
    if field.is_required():
        return "required"
    if value is None:
        return "none"
    if value == ():
        return "`[]`"
    if value == MODEL_DIR:
        return "the demo model"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _anchor(title: str) -> str:
    return title.replace(".", "")


if __name__ == "__main__":
    with whole_file(Path(sys.argv[1])) as unfinished:
        unfinished.write_text(page(), encoding="utf-8")

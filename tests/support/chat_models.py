"""Models with chat templates of any kind: the demo model's files under another template."""

import json
import shutil
from pathlib import Path
from typing import Any

from treeroll.demo import MODEL_DIR

CHATML = (
    "{% for message in messages %}{{ '[' + message['role'] + ']' + message['content'] + '[end]' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)


def chat_model(
    folder: Path, template: str | None, config: dict[str, Any] | None = None, drop: tuple[str, ...] = ()
) -> Path:
    """A model directory in `folder` with this template, or none; `config` adds to tokenizer_config.json."""
    model = folder / "model"
    shutil.copytree(MODEL_DIR, model)
    (model / "chat_template.jinja").unlink()
    if template is not None:
        (model / "chat_template.jinja").write_text(template)
    file = model / "tokenizer_config.json"
    values = {**json.loads(file.read_text()), **(config or {})}
    file.write_text(json.dumps({key: value for key, value in values.items() if key not in drop}))
    return model

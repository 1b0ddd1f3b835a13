"""A service that says it is ready has loaded what renders chat messages, or knows why it cannot."""

import asyncio
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.chat_models import CHATML, chat_model

from treeroll import service
from treeroll.config import CoordinatorConfig, StoreConfig
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.scorers.pool import ScorerPool
from treeroll.service import ServiceConfig, serve
from treeroll.tokenizer import Tokenizer


async def start(monkeypatch: pytest.MonkeyPatch, model: Path, chat_template: Path | None = None) -> Tokenizer:
    """The tokenizer of a service of this model at the moment that it begins to answer."""
    found: list[Tokenizer] = []

    async def answer(base: Any, *more: Any) -> None:
        found.append(base.tokenizer)

    async def nothing(*_: Any) -> None:
        pass

    for name in ("tune_gc", "tune_malloc"):  # of a whole process
        monkeypatch.setattr(service, name, lambda: None)
    for name in ("start", "stop"):
        monkeypatch.setattr(ScorerPool, name, nothing)
    monkeypatch.setattr(service, "running_ray", lambda *_: nullcontext(SimpleNamespace(logs=Path())))
    monkeypatch.setattr(service, "_serve_on", answer)
    generator = GeneratorConfig(model=model, engine="none", chat_template=chat_template)
    config = ServiceConfig(generator=generator, store=StoreConfig(url="memory"), coordinator=CoordinatorConfig(port=0))
    await serve(config, lambda address: None, asyncio.Event())
    return found[0]


async def test_the_template_is_loaded_before_anybody_can_connect(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokenizer = await start(monkeypatch, chat_model(tmp_path, CHATML))
    monkeypatch.setattr("treeroll.chat.template._load", None)  # it would be called now
    assert (
        tokenizer.encode_messages([{"role": "user", "content": "hi"}], {}, date.today())[1]
        == "[user]hi[end][assistant]"
    )


@pytest.mark.parametrize(("template", "reason"), [(None, "has no chat template"), ("{% if", "is not valid Jinja")])
async def test_a_model_without_a_usable_template_still_serves_text(
    template: str | None,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokenizer = await start(monkeypatch, chat_model(tmp_path, template))
    assert tokenizer.encode_text("1+1")
    assert f"tasks with 'messages' will be refused: {'model' if template is None else 'the'}" in caplog.text
    assert reason in caplog.text


@pytest.mark.parametrize("source", [None, "{% if"])
async def test_a_template_file_that_is_none_is_refused_before_anything_starts(
    source: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "own.jinja"
    if source is not None:
        file.write_text(source)
    with pytest.raises(InvalidInput, match=r"own\.jinja (cannot be read|is not valid Jinja)"):
        await start(monkeypatch, MODEL_DIR, file)

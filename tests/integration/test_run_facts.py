"""What a trainer asks before it starts: which runs there are, and whether its tokenizer is the service's."""

import json
import shutil
from pathlib import Path

import pytest

import treeroll
from treeroll.client import connect_async
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.testing.service import local_service, running_service
from treeroll.tokenizer import Tokenizer


async def test_a_run_says_how_to_pad_its_samples_and_where_they_end() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        created = await client.create_run("r", recipe="flat", leaves=2)
        facts = created.tokenizer
        known = Tokenizer.load(MODEL_DIR)
        assert (facts.hash, facts.eos_token_ids, facts.pad_token_id, facts.max_model_len) == (
            known.hash,
            sorted(known.eos_token_ids),
            known.pad_token_id,
            known.max_model_len,
        )
        assert facts.eos_token_ids
        assert (await client.run("r")).tokenizer == facts


async def test_all_runs_are_listed() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        assert await client.runs() == []
        for name in ("b", "a"):
            await client.create_run(name, recipe="flat", leaves=2)
        await (await client.run("a")).close()
        assert [(run.run_id, run.state) for run in await client.runs()] == [("a", "closed"), ("b", "open")]


def test_a_trainer_with_another_tokenizer_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(MODEL_DIR, other)
    settings = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    (other / "tokenizer.json").write_text(json.dumps(settings, indent=3), encoding="utf-8")
    with running_service() as address, treeroll.connect(address) as client:
        client.check_tokenizer(MODEL_DIR)
        assert client.runs() == []
        with pytest.raises(InvalidInput, match=r"the tokenizer of .*other has hash \w{16}, that of the service at"):
            client.check_tokenizer(other)
        with pytest.raises(InvalidInput, match="is not a directory"):
            client.check_tokenizer(tmp_path / "nothing")

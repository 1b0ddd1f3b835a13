"""prime-rl's files: what its trainer reads of a run's trees."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.pages import blocks, lead_to, run_block, write_demo_tasks
from tests.support.prime_rl_trainer import PER_TOKEN, MicroBatch, received

import treeroll
from treeroll.client.batch import Batch
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.integrations.prime_rl import PrimeRollouts
from treeroll.testing.service import running_service

PAGE = "integrations/prime-rl.md"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_service(slots=64) as address:
        yield address


def new_run(address: str, name: str, tasks: int, **options: Any) -> treeroll.Run:
    options = {"recipe": "treepo", "leaves": 6, "scorer": "arith", **options}
    run = treeroll.connect(address).create_run(name, **options)
    run.submit(treeroll.read_tasks(TASKS_FILE)[:tasks])
    run.close()
    return run


@pytest.fixture(scope="module")
def batch(address: str) -> Batch:
    return next(new_run(address, "prime", 5).batches(trees=5))


def named(ids: Iterable[int], logprobs: Iterable[float]) -> tuple[Any, ...]:
    """What tells samples apart: two may be of the same tokens."""
    return (*ids, *(round(value, 4) for value in logprobs))


def samples_in(micro_batches: list[MicroBatch]) -> Iterator[dict[str, Any]]:
    """Its samples, cut as its loss cuts them."""
    for row in micro_batches:
        for name in PER_TOKEN:
            assert len(getattr(row, name)) == len(row.input_ids), name
        assert sum(row.sequence_lengths) == sum(row.seq_lens) == len(row.input_ids)
        ends = np.cumsum(row.sequence_lengths)
        for length, end in zip(row.sequence_lengths, ends, strict=True):
            cut = slice(end - length, end)
            yield {name: getattr(row, name)[cut] for name in ("input_ids", *PER_TOKEN)}


def test_every_sample_arrives_once_with_its_own_credit(batch: Batch, tmp_path: Path) -> None:
    rollouts = PrimeRollouts(tmp_path, ranks=2, seq_len=700, pad_to=8)
    assert rollouts.write(batch) == 1
    ranks = [received(tmp_path, 1, rank) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1]) > 1
    assert all(len(row.input_ids) % 8 == 0 and len(row.input_ids) <= 704 for rank in ranks for row in rank)
    found = {}
    for sample in (sample for rank in ranks for sample in samples_in(rank)):
        if any(name == "treeroll" for name in sample["env_names"]):
            length = sample["env_names"].count("treeroll")
            found[named(sample["input_ids"][:length], sample["inference_logprobs"][:length])] = sample
    for sample in batch.samples:
        ids = (*sample.prompt_ids.tolist(), *sample.completion_ids.tolist())
        own = slice(len(sample.prompt_ids), len(ids))
        there = found[named(ids, [*[0.0] * own.start, *sample.logprobs.tolist()])]
        np.testing.assert_allclose(there["advantages"][own], sample.advantages, rtol=1e-6)
        np.testing.assert_allclose(there["inference_logprobs"][own], sample.logprobs, rtol=1e-6)
        assert there["loss_mask"][own] == [True] * len(sample.completion_ids)
        assert there["rl_weights"][own] == [1.0] * len(sample.completion_ids)
        assert not any(there["loss_mask"][: own.start])
        assert not any(there["loss_mask"][own.stop :])
        assert there["position_ids"][: own.stop] == list(range(own.stop))
    trained = sum(sum(row.loss_mask) for rank in ranks for row in rank)
    assert trained == sum(len(sample.completion_ids) for sample in batch.samples)


def test_the_temperature_stands_where_the_logits_of_its_token_do(address: str, tmp_path: Path) -> None:
    hot = next(new_run(address, "prime-hot", 1, temperature=0.5, recipe="flat", leaves=2).batches(trees=1))
    PrimeRollouts(tmp_path, ranks=1, seq_len=2048).write(hot)
    prompt = len(hot.samples[0].prompt_ids)
    for sample in samples_in(received(tmp_path, 1, 0)):
        assert sample["temperatures"] == [1.0] * (prompt - 1) + [0.5] * (len(sample["input_ids"]) - prompt) + [1.0]


def test_ranks_get_equally_many_micro_batches_when_they_do_not_divide(batch: Batch, tmp_path: Path) -> None:
    PrimeRollouts(tmp_path, ranks=7, seq_len=4096).write(batch)
    ranks = [received(tmp_path, 1, rank) for rank in range(7)]
    assert {len(rank) for rank in ranks} == {1}
    filled = [rank[0] for rank in ranks if not any(rank[0].loss_mask)]
    assert filled
    assert all(len(row.input_ids) == sum(row.seq_lens) == 1 for row in filled)


def test_options_of_what_to_train_on_reach_the_files(batch: Batch, tmp_path: Path) -> None:
    PrimeRollouts(tmp_path, ranks=1, seq_len=4096).write(batch, shared_prefixes="once")
    rows = received(tmp_path, 1, 0)
    arrays = batch.to_numpy(shared_prefixes="once")
    total = sum(weight for row in rows for weight, mask in zip(row.rl_weights, row.loss_mask, strict=True) if mask)
    assert total == pytest.approx(float((arrays["loss_weights"] * arrays["loss_mask"]).sum()), rel=1e-5)


def test_a_writer_that_starts_again_repeats_no_tree(address: str, tmp_path: Path) -> None:
    run = new_run(address, "prime-again", 4)
    first = PrimeRollouts(tmp_path, ranks=1, seq_len=4096)
    with run.batches(trees=2) as batches:
        assert first.write(next(batches)) == 1  # and killed before the acknowledgement
    again = PrimeRollouts(tmp_path, ranks=1, seq_len=4096)
    assert again.step == 2
    steps = [again.write(batch) for batch in run.batches(trees=3)]
    assert [step for step in steps if step is not None] == list(range(2, again.step))
    names = [json.loads(path.read_text()) for path in tmp_path.glob("rollouts/step_*/trees.json")]
    trees = [tree for step in names for tree in step]
    assert len(trees) == len(set(trees)) == 4


def test_nothing_to_train_on_writes_no_step(address: str, tmp_path: Path) -> None:
    unscored = next(new_run(address, "prime-unscored", 1, scorer="client").batches(trees=1))
    rollouts = PrimeRollouts(tmp_path, ranks=1, seq_len=4096)
    assert rollouts.write(unscored) is None
    assert rollouts.step == 1
    assert not list(tmp_path.glob("rollouts/step_*/*.bin"))


def test_what_cannot_be_written_is_named(batch: Batch, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"sample \S+ has \d+ tokens, more than prime-rl's seq_len of 40"):
        PrimeRollouts(tmp_path, ranks=1, seq_len=40).write(batch)
    with pytest.raises(InvalidInput, match="ranks, seq_len and pad_to"):
        PrimeRollouts(tmp_path, ranks=0, seq_len=40)
    with pytest.raises(InvalidInput, match="env_name must not be 'all'"):
        PrimeRollouts(tmp_path, ranks=1, seq_len=40, env_name="all")


def test_the_page_writes_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    (block,) = blocks(PAGE)
    monkeypatch.chdir(tmp_path)
    write_demo_tasks(tmp_path, 4)
    lead_to(address, monkeypatch)
    assert run_block(block, PAGE)["rollouts"].step == 3
    assert all(received(tmp_path / "output", step, rank) for step in (1, 2) for rank in (0, 1))

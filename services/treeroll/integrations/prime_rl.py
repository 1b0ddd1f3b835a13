"""prime-rl's trainer (https://github.com/PrimeIntellect-ai/prime-rl), fed by files in its output directory.

The trainer waits for `rollouts/step_N/rank_R.bin` and trains step N on it; `PrimeRollouts` writes them, in the place of
its orchestrator. The layout is that of prime-rl 0.8, with `rollout_transport` set to `filesystem`.
"""

import json
import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Unpack

import msgspec

from treeroll.client.batch import Batch
from treeroll.client.training import Training, temperatures
from treeroll.errors import InvalidInput
from treeroll.integrations.rows import Row, rows_of, trains
from treeroll.whole_file import whole_file

log = logging.getLogger(__name__)

TREES = "trees.json"


class MicroBatch(msgspec.Struct, array_like=True):
    """Some samples, one behind the other, as one row of N tokens. On the wire a list in this order."""

    input_ids: list[int]
    loss_mask: list[bool]
    advantages: list[float]
    inference_logprobs: list[float]
    position_ids: list[int]
    sequence_lengths: list[int]
    temperatures: list[float]
    env_names: list[str]
    seq_lens: list[int]
    ref_logprobs: None
    routed_experts: None
    mm_kwargs: None
    mm_token_type_ids: None
    rl_weights: list[float]


class PrimeRollouts:
    """Writes batches as the steps that the trainer waits for.

    A step names its trees (trees.json). A new writer on the same directory goes on behind the last whole step, and
    leaves out trees that are in one: each tree is trained on once, whether or not it was acknowledged in time.
    """

    def __init__(
        self, output_dir: str | Path, *, ranks: int, seq_len: int, env_name: str = "treeroll", pad_to: int = 1
    ) -> None:
        """Take up a directory.

        Args:
            output_dir: The trainer's `output_dir`.
            ranks: Its data-parallel ranks.
            seq_len: Tokens of a micro-batch at most, as its `model.seq_len`.
            env_name: What it logs the samples under; "all" is its own.
            pad_to: Micro-batches are padded to a multiple of this, as context parallelism wants.
        """
        if min(ranks, seq_len, pad_to) < 1:
            raise InvalidInput(f"ranks, seq_len and pad_to must be 1 or more, got {ranks}, {seq_len} and {pad_to}")
        if env_name == "all":
            raise InvalidInput("env_name must not be 'all', under which prime-rl logs sums")
        self._dir = Path(output_dir) / "rollouts"
        self._ranks, self._seq_len, self._env_name, self._pad_to = ranks, seq_len, env_name, pad_to
        self._written: set[str] = set()
        self.step = 1
        """The step that is written next."""
        while (names := self._dir / f"step_{self.step}" / TREES).exists():
            self._written.update(json.loads(names.read_text()))
            self.step += 1

    def write(self, batch: Batch, **training: Unpack[Training]) -> int | None:
        """Write a batch as the next step; returns its number, None if it has nothing to train on that is new.

        `training` says what to train on, as in `Batch.to_numpy`. Once this returns, the batch may be acknowledged.
        Raises InvalidInput for a sample longer than seq_len, by name.
        """
        samples = [sample for sample in batch.samples if sample.tree_id not in self._written]
        if not trains(samples):
            log.warning("a batch of %d samples has nothing to train on that is new; no step is written", len(batch))
            return None
        bins = self._packed(rows_of(samples, **training))
        folder = self._dir / f"step_{self.step}"
        folder.mkdir(parents=True, exist_ok=True)
        for rank, share in enumerate(_shares(bins, self._ranks)):
            content = msgspec.msgpack.encode([self._micro_batch(rows) for rows in share])
            _write(folder / f"rank_{rank}.bin", content)
        tree_ids = list(dict.fromkeys(sample.tree_id for sample in samples))
        _write(folder / TREES, json.dumps(tree_ids).encode())
        self._written.update(tree_ids)
        self.step += 1
        return self.step - 1

    def _packed(self, rows: Sequence[Row]) -> list[list[Row]]:
        """First fit, longest first."""
        bins: list[list[Row]] = []
        for row in sorted(rows, key=lambda row: -row.length):
            if row.length > self._seq_len:
                raise InvalidInput(
                    f"sample {row.sample.sample_id} has {row.length} tokens, more than prime-rl's seq_len of "
                    f"{self._seq_len}: raise that, or lower the run's max_tokens"
                )
            home = next((rows for rows in bins if _tokens(rows) + row.length <= self._seq_len), None)
            if home is None:
                bins.append([row])
            else:
                home.append(row)
        return bins

    def _micro_batch(self, rows: Sequence[Row]) -> MicroBatch:
        """One row of tokens, padded behind the last sample; without samples nothing but padding."""
        lengths = [row.length for row in rows]
        padding = -sum(lengths) % self._pad_to if rows else self._pad_to
        segments = [*lengths[:-1], padding + sum(lengths[-1:])]

        def row(parts: Any, fill: Any) -> list[Any]:
            return [*chain.from_iterable(parts), *[fill] * padding]

        return MicroBatch(
            input_ids=row(([*row.prompt_ids, *row.completion_ids] for row in rows), 1),
            loss_mask=row((map(bool, _behind(row, row.loss_mask)) for row in rows), False),
            advantages=row((_behind(row, row.advantages) for row in rows), 0.0),
            inference_logprobs=row((_behind(row, row.sample.logprobs) for row in rows), 0.0),
            position_ids=[*chain.from_iterable(map(range, lengths)), *range(padding)],
            sequence_lengths=segments,
            temperatures=row(map(_next_temperatures, rows), 1.0),
            env_names=[self._env_name] * sum(lengths) + [""] * padding,
            seq_lens=segments,
            ref_logprobs=None,
            routed_experts=None,
            mm_kwargs=None,
            mm_token_type_ids=None,
            rl_weights=row((_behind(row, row.loss_weights) for row in rows), 0.0),
        )


def _shares(bins: list[list[Row]], ranks: int) -> list[list[list[Row]]]:
    """Equally many micro-batches for every rank, the largest first to the least loaded, and empty ones to make up."""
    wanted = -(-len(bins) // ranks)
    shares: list[list[list[Row]]] = [[] for _ in range(ranks)]
    for rows in sorted(bins, key=lambda rows: -_tokens(rows)):
        open_shares = [share for share in shares if len(share) < wanted]
        min(open_shares, key=lambda share: sum(map(_tokens, share))).append(rows)
    return [[*share, *[[]] * (wanted - len(share))] for share in shares]


def _tokens(rows: Sequence[Row]) -> int:
    return sum(row.length for row in rows)


def _behind(row: Row, values: Any) -> list[float]:
    """Values of the completion's tokens, behind zeros for the prompt's."""
    own: list[float] = values.tolist()
    return [0.0] * len(row.sample.prompt_ids) + own


def _next_temperatures(row: Row) -> list[float]:
    """The trainer divides the logits of a place by its temperature, and they predict the token behind it."""
    own = [1.0] * len(row.sample.prompt_ids) + temperatures(row.sample).tolist()
    return [*own[1:], 1.0]


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)

"""run.json: what a rollout was asked for, so that `--resume` can refuse to mix two different ones."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from treeroll.errors import InvalidInput

VERSION = 3
# Settings that say how long to go on or wait, not what a row means: a resumption may have others.
FREE = frozenset({"budget", "budget_tokens", "scorer_timeout_s"})


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A request for rows: equal records give rows that belong together."""

    run: dict[str, Any]
    """The run's whole configuration."""
    tasks: str
    """Task file."""
    tasks_sha256: str
    model: str
    engine: str
    """"vllm" or "simulated"."""
    address: str | None
    """Service that grew the trees; None: one that was started for it."""
    run_id: str
    task_fields: dict[str, str | None] = field(default_factory=dict)
    """Where the rows of the task file have what a task needs, as in `treeroll.tasks.Fields`."""
    tokenizer_hash: str | None = None
    """A hash of the tokenizer and the chat template that made the prompts."""
    version: int = VERSION

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """InvalidInput for a file that is none."""
        try:
            return cls(**json.loads(path.read_text()))
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read ({error.strerror}), so there is nothing to resume") from None
        except (ValueError, TypeError):
            raise InvalidInput(
                f"{path} is not the record of a rollout, so --resume cannot tell what to go on with"
            ) from None

    def as_json(self) -> dict[str, Any]:
        """The record as values for JSON."""
        return asdict(self)

    def check_resumed_by(self, other: "RunRecord", place: Path) -> None:
        """InvalidInput naming the first difference that matters."""
        difference = next(self._differences(other), None)
        if difference:
            raise InvalidInput(f"--resume: {place} was made with {difference}; use the same settings or another --out")

    def _differences(self, other: "RunRecord") -> Iterator[str]:
        if self.version != other.version:
            yield f"record version {self.version}, this is version {other.version}"
        if self.tasks_sha256 != other.tasks_sha256:
            yield f"other tasks: {other.tasks} is not what {self.tasks} was then"
        for name in sorted(self.task_fields.keys() | other.task_fields.keys()):
            before, after = self.task_fields.get(name), other.task_fields.get(name)
            if before != after:
                yield f"tasks.{name} = {json.dumps(before)}, now it is {json.dumps(after)}"
        for name in ("model", "engine", "tokenizer_hash"):
            if getattr(self, name) != getattr(other, name):
                yield f"{name} {getattr(self, name)}, now it is {getattr(other, name)}"
        for key in sorted((self.run.keys() | other.run.keys()) - FREE):
            old, new = self.run.get(key), other.run.get(key)
            if old != new:
                yield f"{key} = {json.dumps(old)}, now it is {json.dumps(new)}"

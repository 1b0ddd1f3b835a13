"""Messages between a scorer process and its child, as JSON bytes: the child runs foreign code and is not trusted.

For every item the child answers twice: `started` when the scorer is loaded and the item's clock may run, then the
result.
"""

import json
from typing import Any

from treeroll.scorers.base import MAX_REWARD, ErrorKind, Job, ScoreItem, ScoreResult

STARTED = b"started"
LOAD = b"load "
MAX_REPLY_BYTES = 16_384


def pack_job(job: Job) -> bytes:
    """What the child needs of a job; its timeout is not the child's business."""
    item = job.item
    return _dump([job.scorer, item.prompt, item.completion, item.answer, item.extra])


def unpack_job(message: bytes) -> tuple[str, ScoreItem]:
    """Scorer and item."""
    scorer, prompt, completion, answer, extra = json.loads(message)
    return scorer, ScoreItem(prompt, completion, answer, extra)


def pack_load(scorer: str) -> bytes:
    """Load a scorer, for a job that may come. The child does not answer."""
    return LOAD + scorer.encode(errors="surrogatepass")


def load_in(message: bytes) -> str | None:
    """The scorer to load, if that is what the message asks for."""
    return message.removeprefix(LOAD).decode(errors="surrogatepass") if message.startswith(LOAD) else None


def pack_result(result: ScoreResult) -> bytes:
    """A result."""
    return _dump([result.value, result.error, result.kind])


def unpack_result(message: bytes) -> ScoreResult:
    """A result. ValueError if the child sent something else."""
    value, error, kind = json.loads(message)
    if value is not None and not abs(float(value)) <= MAX_REWARD:
        raise ValueError(f"the child sent {value}")
    return ScoreResult(None if value is None else float(value), str(error), None if kind is None else ErrorKind(kind))


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()

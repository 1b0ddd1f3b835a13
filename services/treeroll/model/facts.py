"""What a model directory says: tokenizer, sizes, what ends a text. Of transformers, so that it is what a trainer gets.

Transformers is asked once per content of a directory and version of its own; the answer is kept in the user's cache.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.model import child

log = logging.getLogger(__name__)

# Every file that may change ids or chat template, under the names that transformers reads.
TOKENIZER_FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "tekken.json",
)
TEMPLATE_FILES = ("chat_template*", "additional_chat_templates/*")
# What a clone without Git LFS has in place of large files.
FETCHED, POINTER, MOST_POINTER_BYTES = ("*.json", "*.model", "*.safetensors"), b"version https://git-lfs", 1024
# Parts of a configuration that are that of the language model, where there are other parts.
TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
CACHED_MODELS = 16
CHILD_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model without its weights."""

    tokenizer_json: str
    """AutoTokenizer's tokenizer as the `tokenizers` library writes it, without truncation, padding and chance."""
    split_special_tokens: bool
    """The tokenizer takes special tokens in a prompt for plain text."""
    special_tokens: dict[str, str]
    """Special tokens by name, such as "eos_token": chat templates may ask for them."""
    bos_id: int | None
    eos_id: int | None
    """The tokenizer's end-of-sequence id; see `stop_ids`."""
    pad_id: int | None
    context: int | None
    """Most tokens of prompt plus completion; None if the configuration does not say."""
    vocab_size: int | None
    """Rows of the embedding; None if the configuration does not say."""
    stop_ids: tuple[int, ...]
    """Ids that end a completion: of generation_config.json, config.json and the tokenizer together. May be empty."""
    hash: str
    """16 hex digits: equal hashes give equal ids and chat templates."""

    @property
    def silent_ids(self) -> frozenset[int]:
        """Tokens that give a completion no text: what ends it, and padding."""
        return frozenset(self.stop_ids) | ({self.pad_id} if self.pad_id is not None else set())


def load_facts(model_dir: Path) -> ModelFacts:
    """Facts of the model in this directory. InvalidInput if it is none, or its tokenizer cannot be used."""
    if not model_dir.is_dir():
        raise InvalidInput(f"model path {model_dir} is not a directory")
    for name in ("config.json", "tokenizer.json"):
        if not (model_dir / name).is_file():
            raise InvalidInput(f"model path {model_dir} is no model: it has no {name}")
    for path in sorted(path for pattern in FETCHED for path in model_dir.glob(pattern)):
        if path.stat().st_size < MOST_POINTER_BYTES and path.read_bytes().startswith(POINTER):
            raise InvalidInput(
                f"model path {model_dir}: {path.name} is only Git LFS's pointer to it; run `git lfs pull` there"
            )
    config = read_json(model_dir / "config.json")
    files = _digest(model_dir, TOKENIZER_FILES)
    answer = _answer(model_dir.resolve(), _digest(model_dir, ("config.json",), files))
    if "refused" in answer:
        raise InvalidInput(f"model path {model_dir}: its tokenizer cannot be used, {answer['refused']}")
    return ModelFacts(
        tokenizer_json=answer["tokenizer"],
        split_special_tokens=answer["split_special_tokens"],
        special_tokens=answer["special_tokens"],
        bos_id=answer["bos_id"],
        eos_id=answer["eos_id"],
        pad_id=answer["pad_id"],
        context=answer["context"],
        vocab_size=answer["vocab_size"],
        stop_ids=tuple(_stop_ids(model_dir, config, answer["eos_id"], answer["vocab_size"])),
        hash=_digest(model_dir, TEMPLATE_FILES, files + answer["tokenizer_class"])[:16],
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. InvalidInput if it is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from None


def _digest(model_dir: Path, patterns: Iterable[str], more: str = "") -> str:
    """A hash of the files that match, and of their names."""
    digest = sha256(more.encode())
    for path in sorted({path for pattern in patterns for path in model_dir.glob(pattern) if path.is_file()}):
        name, content = path.relative_to(model_dir).as_posix().encode(), path.read_bytes()
        digest.update(b"%d %d " % (len(name), len(content)) + name + content)
    return digest.hexdigest()


def _stop_ids(model_dir: Path, config: dict[str, Any], eos_id: int | None, vocab_size: int | None) -> list[int]:
    """Whatever names an end of text, each id once. InvalidInput for what is no id."""
    said = [("config.json", part.get("eos_token_id")) for part in _text_parts(config)]
    if (model_dir / "generation_config.json").is_file():
        name = "generation_config.json"
        said.insert(0, (name, read_json(model_dir / name).get("eos_token_id")))
    said.append(("the tokenizer", eos_id))
    ids: dict[int, None] = {}
    for source, value in said:
        for stop in value if isinstance(value, list) else [] if value is None else [value]:
            if not isinstance(stop, int) or isinstance(stop, bool):
                raise InvalidInput(f"{model_dir}: eos_token_id of {source} must be token ids, got {stop!r}")
            if 0 <= stop < (vocab_size or stop + 1):
                ids[stop] = None
            else:
                _say_once(f"{model_dir}: eos_token_id {stop} of {source} is no token of the model; left out")
    return list(ids)


def _text_parts(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield config
    for name in TEXT_PARTS:
        if isinstance(part := config.get(name), dict):
            yield from _text_parts(part)


@lru_cache(maxsize=256)
def _say_once(sentence: str) -> None:
    log.warning(sentence)


@lru_cache(maxsize=CACHED_MODELS)
def _answer(model_dir: Path, content: str) -> dict[str, Any]:
    """What transformers says of a directory of this content, which may stand in the cache."""
    asked = f"{content} {version('transformers')} {version('tokenizers')} {Path(child.__file__).read_bytes()!r}"
    name = f"{sha256(asked.encode()).hexdigest()[:32]}.json"
    try:
        answer = dict(json.loads((_cache_dir() / name).read_bytes()))
    except (OSError, ValueError):
        answer = _ask(model_dir)
    else:
        with suppress(OSError):
            os.utime(_cache_dir() / name)  # what is in use is kept
        return answer
    try:
        _keep(_cache_dir() / name, answer)
    except OSError as error:
        log.info("what transformers says of %s is not kept: %s", model_dir, error)
    return answer


def _ask(model_dir: Path) -> dict[str, Any]:
    # -P: the modules beside the child are not those it means by their names.
    command = [sys.executable, "-P", child.__file__, str(model_dir)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHILD_TIMEOUT_S, check=True
        )
        return dict(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        raise InvalidInput(f"transformers has not read {model_dir} within {CHILD_TIMEOUT_S:g} s") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        last = said.rpartition("\n")[2] or f"exit status {error.returncode}"
        raise InvalidInput(f"transformers cannot read {model_dir}: {last}") from None


def _cache_dir() -> Path:
    """Where answers are kept. OSError for a user without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "treeroll" / "models"
    except RuntimeError as error:
        raise FileNotFoundError(error) from None


def _keep(path: Path, answer: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(json.dumps(answer).encode())
    temporary.replace(path)
    oldest_first = sorted(path.parent.glob("*.json"), key=lambda kept: kept.stat().st_mtime)
    for kept in oldest_first[:-CACHED_MODELS]:
        kept.unlink(missing_ok=True)

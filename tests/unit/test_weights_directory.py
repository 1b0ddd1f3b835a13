"""Directories of weights: what save_weights writes passes the check, and whatever is not whole and right does not."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import treeroll
from treeroll.demo import MODEL_DIR
from treeroll.errors import BadWeights, InvalidInput
from treeroll.weights.check import MARKER, check_weights
from treeroll.weights.layout import INDEX, layout_of
from treeroll.weights.safetensors_file import read_header

Tensors = dict[str, Any]
LAYOUT = layout_of(MODEL_DIR)
DEMO = load_file(MODEL_DIR / "model.safetensors")
NORM, EMBEDDING, KEY = "model.norm.weight", "model.embed_tokens.weight", "model.layers.1.self_attn.k_proj.weight"


def written(directory: Path, tensors: Tensors, file: str = "model.safetensors") -> Path:
    """A directory as a trainer without our help would leave it."""
    directory.mkdir(exist_ok=True)
    save_file(tensors, directory / file)
    (directory / MARKER).touch()
    return directory


def test_what_is_saved_passes_and_is_what_safetensors_reads(tmp_path: Path) -> None:
    digest = treeroll.save_weights(DEMO, tmp_path / "v1")
    checked = check_weights(tmp_path / "v1", LAYOUT, digest)
    assert (checked.digest, checked.directory) == (digest, (tmp_path / "v1").resolve())
    assert sorted(path.name for path in (tmp_path / "v1").iterdir()) == [MARKER, "model.safetensors"]
    read = load_file(tmp_path / "v1" / "model.safetensors")
    assert read.keys() == DEMO.keys()
    assert all(np.array_equal(read[name], DEMO[name]) for name in DEMO)


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    digest = treeroll.save_weights(DEMO, tmp_path / "saved")
    names = sorted(DEMO)
    first, second = ({name: DEMO[name] for name in half} for half in (names[:20], names[20:]))
    written(tmp_path / "halves", first, "model-00001-of-00002.safetensors")
    written(tmp_path / "halves", second, "model-00002-of-00002.safetensors")
    assert check_weights(tmp_path / "halves", LAYOUT).digest == digest
    for name in (NORM, EMBEDDING, KEY):
        flipped = DEMO[name].copy()
        flipped.view(np.uint32).reshape(-1)[-1] ^= 1
        other = written(tmp_path / name, {**DEMO, name: flipped})
        assert check_weights(other, LAYOUT).digest != digest
        with pytest.raises(BadWeights, match=f"not {digest}, which they were published with"):
            check_weights(other, LAYOUT, digest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int64])
def test_torch_tensors_of_every_kind_are_written_as_they_are(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        "a": torch.arange(12, dtype=torch.float32).reshape(3, 4).to(dtype).T,  # not contiguous
        "b": torch.tensor(3.0).to(dtype),
        "c": torch.empty(0, 5).to(dtype),
        "d": torch.ones(3, dtype=torch.uint8),
    }
    digest = treeroll.save_weights(tensors, tmp_path / "v1")
    assert check_weights(tmp_path / "v1", None, digest).digest == digest
    with safe_open(tmp_path / "v1" / "model.safetensors", "pt") as file:
        for name, tensor in tensors.items():
            read = file.get_tensor(name)
            assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(read.float(), tensor.float())


def test_a_module_is_saved_without_its_tied_head(tmp_path: Path) -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lm_head = torch.nn.Linear(4, 10, bias=False)
            self.embed_tokens = torch.nn.Embedding(10, 4)
            self.lm_head.weight = self.embed_tokens.weight

    treeroll.save_weights(Tied(), tmp_path / "v1")
    assert [tensor.name for tensor in read_header(tmp_path / "v1" / "model.safetensors")] == ["embed_tokens.weight"]


def test_saving_needs_no_torch_and_no_safetensors(tmp_path: Path) -> None:
    program = (
        "import sys, numpy, treeroll\n"
        f"treeroll.save_weights({{'a': numpy.ones(3)}}, {str(tmp_path / 'v1')!r})\n"
        "assert not {'torch', 'safetensors', 'vllm', 'ray', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    check_weights(tmp_path / "v1", None)


def test_saving_into_a_directory_with_weights_is_refused_and_an_attempt_cut_off_is_made_again(tmp_path: Path) -> None:
    treeroll.save_weights(DEMO, tmp_path / "v1")
    with pytest.raises(InvalidInput, match="holds weights already"):
        treeroll.save_weights(DEMO, tmp_path / "v1")
    (tmp_path / "v1" / MARKER).unlink()
    digest = treeroll.save_weights(DEMO, tmp_path / "v1")
    check_weights(tmp_path / "v1", LAYOUT, digest)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "adapter.safetensors").touch()
    with pytest.raises(InvalidInput, match=re.escape("holds adapter.safetensors, which is not ours")):
        treeroll.save_weights(DEMO, tmp_path / "other")


class Sharded(torch.Tensor):
    def full_tensor(self) -> torch.Tensor:
        return self


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({}, "no tensors to write"),
        ([1.0], "a torch module or a mapping of names to tensors, got list"),
        ({"a": 1.0}, "tensor a must be a torch tensor or a numpy array, got float"),
        ({"a": np.array(["x"])}, "tensor a has dtype <U1"),
        ({"a": torch.ones(2, device="meta")}, "tensor a is on the meta device"),
        ({"a": torch.ones(2).as_subclass(Sharded)}, "tensor a is sharded"),
    ],
)
def test_what_cannot_be_saved_is_named_and_leaves_nothing(tmp_path: Path, tensors: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(why)):
        treeroll.save_weights(tensors, tmp_path / "v1")
    assert not (tmp_path / "v1").exists()


def test_a_save_that_fails_in_the_middle_leaves_no_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter([b"ok"])
    monkeypatch.setattr("treeroll.weights.save._bytes", lambda tensor: next(calls))
    with pytest.raises((StopIteration, RuntimeError)):
        treeroll.save_weights(DEMO, tmp_path / "v1")
    assert list((tmp_path / "v1").iterdir()) == []


def changed(**tensors: Any) -> Callable[[Path], None]:
    """A directory of the demo's tensors with these in place of its own; None leaves one out."""
    names = {name.replace("__", "."): tensor for name, tensor in tensors.items()}

    def make(directory: Path) -> None:
        written(directory, {name: array for name, array in {**DEMO, **names}.items() if array is not None})

    return make


def with_file(edit: Callable[[Path], None]) -> Callable[[Path], None]:
    """A good directory whose file is then edited."""

    def make(directory: Path) -> None:
        edit(written(directory, DEMO) / "model.safetensors")

    return make


def rewritten(**changes: Any) -> Callable[[Path], None]:
    """A good directory whose header says otherwise of one norm."""

    def edit(file: Path) -> None:
        data = file.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header[NORM].update(changes)
        new = json.dumps(header).encode()
        file.write_bytes(len(new).to_bytes(8, "little") + new + data[8 + length :])

    return with_file(edit)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def bf16(directory: Path) -> None:
    treeroll.save_weights({name: torch.from_numpy(array).bfloat16() for name, array in DEMO.items()}, directory)


def marked_otherwise(directory: Path) -> None:
    treeroll.save_weights(DEMO, directory)
    (directory / MARKER).write_text("0" * 64)


def twice(directory: Path) -> None:
    written(written(directory, DEMO), {NORM: DEMO[NORM]}, "more.safetensors")


def indexed(place: str | None, more: dict[str, str] | None = None) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        names = dict.fromkeys(DEMO, "model.safetensors")
        written(directory, DEMO)
        if place is not None:
            names[NORM] = place
        (directory / INDEX).write_text(json.dumps({"weight_map": {**names, **(more or {})}}))

    return make


def with_nan(at: int, value: float, name: str = NORM) -> dict[str, Any]:
    array = DEMO[name].copy()
    array.reshape(-1)[at] = value
    return {name.replace(".", "__"): array}


FILE = "model.safetensors"
HALF = DEMO[KEY][:64].copy()
BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no directory": (lambda directory: None, "there is no such directory on this host"),
    "a file": (lambda directory: directory.touch(), "there is no such directory on this host"),
    "not marked": (lambda directory: (written(directory, DEMO) / MARKER).unlink(), "no file STABLE"),
    "no file": (lambda directory: (written(directory, DEMO) / FILE).unlink(), "there is no safetensors file"),
    "norm missing": (changed(model__norm__weight=None), f"tensor {NORM} is in none of the files"),
    "embedding missing": (changed(model__embed_tokens__weight=None), f"tensor {EMBEDDING} is in none of the files"),
    "one of three missing": (
        changed(model__layers__1__self_attn__k_proj__weight=None), f"tensor {KEY} is in none of the files"),
    "another dtype": (bf16, "is BF16 [100, 128], and the model's is F32 [100, 128]"),
    "another shape": (
        changed(model__layers__1__self_attn__k_proj__weight=HALF),
        f"tensor {KEY} of {FILE} is F32 [64, 128], and the model's is F32 [128, 128]"),
    "transposed": (
        changed(model__layers__0__mlp__up_proj__weight=DEMO["model.layers.0.mlp.up_proj.weight"].T.copy()),
        "is F32 [128, 384], and the model's is F32 [384, 128]"),
    "one too many": (changed(extra=np.ones(3, np.float32)), f"tensor extra of {FILE} is none of the model's"),
    "a wrapper's name": (
        lambda directory: written(directory, {f"module.{name}": array for name, array in DEMO.items()}) and None,
        f"of {FILE} is none of the model's"),
    "nan": (changed(**with_nan(5, np.nan)), f"tensor {NORM} of {FILE} holds values that are not finite"),
    "infinite, the last value": (changed(**with_nan(-1, -np.inf, KEY)), f"tensor {KEY} of {FILE} holds values that"),
    "foreign head": (
        changed(lm_head__weight=DEMO[EMBEDDING] * np.float32(1.01)),
        f"tensor lm_head.weight of {FILE} differs from {EMBEDDING}"),
    "head of another dtype": (
        changed(lm_head__weight=DEMO[EMBEDDING].astype(np.float16)), f"lm_head.weight of {FILE} differs from"),
    "cut short": (with_file(truncate), "bytes, and its header says"),
    "cut in the header": (with_file(lambda file: file.write_bytes(file.read_bytes()[:100])), "ends within its header"),
    "empty": (with_file(lambda file: file.write_bytes(b"")), "ends within its header"),
    "longer than it says": (with_file(lambda file: file.write_bytes(file.read_bytes() + b"more")), "not written whole"),
    "a pickle": (with_file(lambda file: torch.save({}, file)), "is no safetensors file"),
    "Git LFS's pointer": (
        with_file(lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\n")), "no safetensors file"),
    "no JSON": (
        with_file(lambda file: file.write_bytes(b"\x08\0\0\0\0\0\0\0notjson!")), "not the safetensors format's"),
    "a list": (with_file(lambda file: file.write_bytes(b"\x02\0\0\0\0\0\0\0[]")), "not the safetensors format's"),
    "overlapping": (rewritten(data_offsets=[0, 512]), "and what is before it ends at"),
    "too long for its shape": (rewritten(shape=[127]), f"tensor {NORM} of {FILE} is F32 [127] in 512 bytes"),
    "negative shape": (rewritten(shape=[-1]), "not the safetensors format's"),
    "unknown dtype": (rewritten(dtype="F4"), "has dtype F4, which cannot be checked here"),
    "digest in its marker": (marked_otherwise, f"not {'0' * 64}, which STABLE has"),
    "a tensor twice": (twice, f"tensor {NORM} of more.safetensors is also in model.safetensors"),
    "index names another file": (indexed("gone.safetensors"), f"tensor {NORM} of {FILE} is not there by {INDEX}"),
    "index names more": (indexed(None, {"more": FILE}), f"tensor more of {FILE} is missing, which {INDEX} names"),
    "Mistral's file": (
        lambda directory: written(written(directory, DEMO), DEMO, "consolidated.safetensors") and None,
        "consolidated.safetensors is in Mistral's format"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_directory_is_refused_in_a_sentence_that_names_it(tmp_path: Path, case: str) -> None:
    make, why = BAD[case]
    directory = tmp_path / "step-7"
    make(directory)
    with pytest.raises(BadWeights) as refused:
        check_weights(directory, LAYOUT)
    assert why in str(refused.value)
    assert str(refused.value).startswith(f"weights {directory}: ")
    assert "\n" not in str(refused.value)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(BadWeights, match="the path must be absolute"):
        check_weights("step-7", LAYOUT)


def test_files_that_change_after_the_check_are_noticed(tmp_path: Path) -> None:
    for change in (
        lambda directory: written(directory, {**DEMO, NORM: DEMO[NORM] + 1}),
        lambda directory: truncate(directory / FILE),
        lambda directory: (directory / FILE).unlink(),
        lambda directory: (directory / "more.safetensors").touch(),
        lambda directory: [path.unlink() for path in directory.iterdir()] and directory.rmdir(),
    ):
        directory = tmp_path / "v1"
        treeroll.save_weights(DEMO, directory)
        checked = check_weights(directory, LAYOUT)
        checked.ensure_unchanged()
        change(directory)
        with pytest.raises(BadWeights, match=re.escape(str(directory))):
            checked.ensure_unchanged()
        for path in directory.glob("*"):
            path.unlink()


def test_a_tied_head_may_be_absent_or_equal_and_an_untied_one_must_be_there(tmp_path: Path) -> None:
    assert LAYOUT.embedding == EMBEDDING
    check_weights(written(tmp_path / "equal", {**DEMO, "lm_head.weight": DEMO[EMBEDDING]}), LAYOUT)
    untied = written(tmp_path / "untied", {**DEMO, "lm_head.weight": DEMO[EMBEDDING] * 2})
    (untied / "config.json").write_text(json.dumps({"tie_word_embeddings": False}))
    layout = layout_of(untied)
    assert layout.embedding is None
    check_weights(untied, layout)
    with pytest.raises(BadWeights, match=re.escape("tensor lm_head.weight is in none of the files")):
        check_weights(written(tmp_path / "absent", DEMO), layout)
    (untied / "config.json").write_text(json.dumps({"text_config": {"tie_word_embeddings": True}}))
    assert layout_of(untied) == LAYOUT  # the head that it was saved with has no say


def test_a_link_that_moves_does_not_move_what_was_checked(tmp_path: Path) -> None:
    treeroll.save_weights(DEMO, tmp_path / "v1")
    (tmp_path / "latest").symlink_to("v1")
    assert check_weights(tmp_path / "latest", LAYOUT).directory == (tmp_path / "v1").resolve()

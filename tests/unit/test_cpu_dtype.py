"""The weights' type on a CPU."""

import json
from pathlib import Path
from typing import Any

import pytest

from treeroll.generator import cpu_dtype as module
from treeroll.generator.cpu_dtype import cpu_dtype

PLAIN, UNITS = "flags\t\t: fpu avx avx2 avx512f\n", "flags\t\t: fpu avx512f avx512_bf16 amx_bf16\n"
ARM_PLAIN, ARM_UNITS = "Features\t: fp asimd asimdhp\n", "Features\t: fp asimd bf16 i8mm\n"


@pytest.mark.parametrize(
    ("cpu", "config", "dtype"),
    [
        (PLAIN, {"dtype": "bfloat16"}, "float32"),
        (PLAIN, {"torch_dtype": "float16"}, "float32"),
        (PLAIN, {}, "float32"),
        (ARM_PLAIN, {"text_config": {"dtype": "bfloat16"}}, "float32"),
        (UNITS, {"dtype": "bfloat16"}, "auto"),
        (ARM_UNITS, {"dtype": "bfloat16"}, "auto"),
        (UNITS, {}, "auto"),
        (UNITS, {"dtype": "float32"}, "float32"),
        (UNITS, {"text_config": {"torch_dtype": "float32"}}, "float32"),
        (None, {"dtype": "bfloat16"}, "auto"),
    ],
)
def test_a_cpu_without_units_for_bfloat16_computes_in_float32_and_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cpu: str | None,
    config: dict[str, Any],
    dtype: str,
) -> None:
    monkeypatch.setattr(module, "CPU_INFO", tmp_path / "cpuinfo")
    if cpu is not None:
        (tmp_path / "cpuinfo").write_text(cpu)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert cpu_dtype(tmp_path) == dtype
    assert ("generator.dtype" in caplog.text) == (cpu in (PLAIN, ARM_PLAIN))

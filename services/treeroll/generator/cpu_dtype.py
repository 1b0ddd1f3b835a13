"""The weights' type on a CPU, where the checkpoint's own may be the slowest."""

import logging
from pathlib import Path

from treeroll.model.facts import read_json

log = logging.getLogger(__name__)

CPU_INFO = Path("/proc/cpuinfo")
# As the Linux kernel names instructions that multiply bfloat16, on x86 and on Arm.
BFLOAT16_UNITS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def cpu_dtype(model_dir: Path) -> str:
    """What `auto` means on this machine's CPU: "float32", or "auto" to leave it to the engine.

    InvalidInput if the model's configuration cannot be read.
    """
    config = read_json(model_dir / "config.json")
    if _said(config) == "float32":
        return "float32"  # vLLM's own "auto" would load it as bfloat16
    if _has_bfloat16_units():
        return "auto"
    log.warning(
        "%s is loaded as float32: this CPU has no units for bfloat16 and emulates them, several times slower; set "
        "generator.dtype for another type, with half the memory",
        model_dir,
    )
    return "float32"


def _said(config: dict[str, object]) -> object:
    text = config.get("text_config")
    parts = [config, text] if isinstance(text, dict) else [config]
    return next((said for part in parts if (said := part.get("dtype") or part.get("torch_dtype"))), None)


def _has_bfloat16_units() -> bool:
    """Whether the CPU says so; True where it cannot be asked."""
    try:
        return not BFLOAT16_UNITS.isdisjoint(CPU_INFO.read_text(encoding="utf-8").split())
    except OSError:
        return True

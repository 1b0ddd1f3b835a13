"""The GPUs that a process may use, as their driver's own tool names them: no library of CUDA is loaded for it."""

import logging
import shutil
import subprocess
from collections.abc import Mapping

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
ASK = ("--query-gpu=index,uuid,name", "--format=csv,noheader")
ASK_S = 20.0


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Each with its id and name, e.g. "3 NVIDIA H200"; a part of one by its id alone. Blocks; none where the driver is
    missing or does not answer."""
    found = _all()
    if VISIBLE not in environment:
        return [f"{index} {name}" for index, _, name in found]
    chosen = []
    for one in filter(None, map(str.strip, environment[VISIBLE].split(","))):
        if one == "-1":  # what comes behind it is hidden
            break
        known = [f"{index} {name}" for index, uuid, name in found if one == index or uuid.startswith(one)]
        chosen += known[:1] or ([one] if found else [])
    return chosen


def _all() -> list[tuple[str, str, str]]:
    """Index, UUID and name of each of the machine's."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        done = subprocess.run([tool, *ASK], capture_output=True, text=True, timeout=ASK_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("which GPUs there are is not known: %s", error)
        return []
    rows = (line.split(", ", 2) for line in done.stdout.splitlines())
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]

"""Prometheus' own checker, as a real program."""

import os
import shutil
import subprocess
from collections.abc import Sequence


def promtool(args: Sequence[str], said: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run it. It is named by PROMTOOL, or on the path, where scripts/_setup.sh puts it."""
    program = os.environ.get("PROMTOOL") or shutil.which("promtool")
    assert program, "promtool is missing: scripts/test brings it, or name one with PROMTOOL=/path"
    return subprocess.run([program, *args], input=said, capture_output=True, check=False)

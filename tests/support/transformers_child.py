"""A process that has imported transformers and forks for each model directory it is asked about.

The child of `treeroll.model.facts` imports transformers anew for each, which takes longer than all that it then does.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

from treeroll.model import child

SERVER = """
import json, os, runpy, sys
for name in ("torch", "torchvision", "torchaudio"):
    sys.modules[name] = None
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")
import tokenizers
from transformers import AutoConfig, AutoTokenizer
answer = runpy.run_path(sys.argv[1])["main"]
for line in iter(sys.stdin.readline, ""):
    folder, *files = json.loads(line)
    pid = os.fork()
    if pid == 0:
        for stream, file in enumerate(files, 1):
            os.dup2(os.open(file, os.O_WRONLY), stream)
        answer(folder)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class TransformersChild(AbstractContextManager["TransformersChild"]):
    """In place of the module `subprocess` in `treeroll.model.facts`. Starts when it is first asked."""

    TimeoutExpired, CalledProcessError, DEVNULL = (
        subprocess.TimeoutExpired, subprocess.CalledProcessError, subprocess.DEVNULL
    )  # fmt: skip

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    def run(self, command: list[str], **_: Any) -> SimpleNamespace:
        """What `subprocess.run` gives for `python -P child.py DIRECTORY` with captured output and check."""
        if self._server is None:
            server = [sys.executable, "-P", "-c", SERVER, child.__file__]
            self._server = subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            self._server.stdin.write(json.dumps([command[-1], out.name, err.name]) + "\n")
            self._server.stdin.flush()
            code = int(self._server.stdout.readline())
            stdout, stderr = out.read(), err.read()
        if code:
            raise subprocess.CalledProcessError(code, command, stdout, stderr)
        return SimpleNamespace(stdout=stdout)

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.communicate()

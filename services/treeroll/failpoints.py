"""Places where a process dies if its environment says so, for tests of what follows.

`TREEROLL_FAILPOINT=commit.after:12` kills the process, as `kill -9` does, when it gets there the twelfth time. Without
it nothing ever happens.
"""

import os
import signal
from itertools import count
from typing import Final

VARIABLE: Final = "TREEROLL_FAILPOINT"
NAMES: Final = ("recovery.read", "recovery.rebuilt", "commit.before", "commit.after", "perform.between")

_name, _, _at = os.environ.get(VARIABLE, "").partition(":")
_times = count(1)


def reach(name: str) -> None:
    """The process is at this place."""
    if name == _name and next(_times) == int(_at or 1):
        os.kill(os.getpid(), signal.SIGKILL)

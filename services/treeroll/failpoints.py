"""Places where a process dies if it is told to, for tests of what follows.

`TREEROLL_FAILPOINT=commit.after:12` kills the process, as `kill -9` does, when it gets there the twelfth time. Without
it nothing ever happens.
"""

import os
import signal
from itertools import count
from typing import Final

VARIABLE: Final = "TREEROLL_FAILPOINT"
# In the order in which a life comes to them: it has the store, has read it, has grown its trees again; a replica
# introduces itself; a commit is on its way, is durable, starts of it are not told yet, all of it is carried out; trees
# are lent, or acknowledged, and nobody has been told.
NAMES: Final = (
    "open.after", "recovery.read", "recovery.rebuilt", "join.before", "commit.before", "commit.after",
    "perform.between", "perform.after", "feed.lent", "feed.acknowledged",
)  # fmt: skip

_name, _at = "", 1
_times = count(1)


def arm(place: str) -> None:
    """Die at this place, NAME or NAME:TIMES; "" is nowhere. ValueError for one that there is not."""
    global _name, _at, _times
    name, _, times = place.partition(":")
    if name and name not in NAMES:
        raise ValueError(f"there is no failpoint '{name}': there are {', '.join(NAMES)}")
    _name, _at, _times = name, int(times or 1), count(1)


def reach(name: str) -> None:
    """The process is at this place."""
    if name == _name and next(_times) == _at:
        os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get(VARIABLE, ""))

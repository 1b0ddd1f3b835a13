"""`ray` whose nodes may take their time to start: `python -m tests.support.ray_start start ...`.

Ray allows 30 s, which nothing changes, and a busy machine needs more. Here a second of that is as long as ten.
"""

import time
from typing import Any

from ray._private import node
from ray.scripts import scripts


class SlowTime:
    """The module `time` for whoever waits there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def monotonic(self) -> float:
        """Seconds of a slow clock."""
        return time.monotonic() / 10


if __name__ == "__main__":
    node.time = SlowTime()
    scripts.main()

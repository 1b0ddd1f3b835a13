"""Progress: a live panel on a terminal, a plain line every few seconds elsewhere. Everything goes to stderr."""

import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from treeroll.cli.console import note, number, plain, table

# Span over which the token rate is taken.
RATE_WINDOW_S = 10.0
PLAIN_EVERY_S = 5.0
# More replicas than this are shown as counts.
MANY_REPLICAS = 8

# Name, state, branches, slots.
ReplicaLine = tuple[str, str, int, int]
# Resource, what is spent of it, and the cap.
CapLine = tuple[str, int, int]


@dataclass(slots=True)
class Snapshot:
    """Where a rollout stands."""

    total: int = 0
    """Tasks of this session."""
    trees: int = 0
    """Trees that ended with samples."""
    failed: int = 0
    dropped: int = 0
    """Trees that the run's filters dropped."""
    growing: int = 0
    leaves: int = 0
    generated_tokens: int = 0
    sharing: float | None = None
    """Tokens of the samples so far, counted separately, over what their trees cost."""
    caps: Sequence[CapLine] = ()
    deadline: float | None = None
    """When the run's time is over, in seconds since the Unix epoch."""
    mean_reward: float | None = None
    reward_errors: int = 0
    replicas: Sequence[ReplicaLine] = ()


class Rate:
    """Tokens per second over the last seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def update(self, now: float, tokens: int) -> float:
        """Note a reading and return the rate."""
        self._points.append((now, tokens))
        while now - self._points[0][0] > RATE_WINDOW_S and len(self._points) > 2:
            self._points.popleft()
        first = self._points[0]
        return (tokens - first[1]) / (now - first[0]) if now > first[0] else 0.0


class Display(Protocol):
    """Where progress is shown."""

    def say(self, sentence: str) -> None:
        """One line that stays."""

    def update(self, snapshot: Snapshot) -> None:
        """The newest figures."""

    def close(self) -> None:
        """Leave the terminal as it was. Again is a no-op."""


class PlainDisplay:
    """Lines for logs."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._last = time.monotonic()

    def say(self, sentence: str) -> None:
        """Print it."""
        note(sentence)

    def update(self, snapshot: Snapshot) -> None:
        """Print a line unless the last one is too young."""
        now = time.monotonic()
        rate = self._rate.update(now, snapshot.generated_tokens)
        if now - self._last >= PLAIN_EVERY_S:
            self._last = now
            note(", ".join(_figures(snapshot, rate)))

    def close(self) -> None:
        """Nothing to do."""


class LiveDisplay:
    """A panel that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rate = Rate()
        self._live: Live | None = None

    def say(self, sentence: str) -> None:
        """Print above the panel."""
        self._console.print(Text(plain(sentence)))

    def update(self, snapshot: Snapshot) -> None:
        """Redraw."""
        panel = _panel(snapshot, self._rate.update(time.monotonic(), snapshot.generated_tokens))
        if self._live is None:
            self._live = Live(panel, console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(panel, refresh=True)

    def close(self) -> None:
        """Remove the panel and show the cursor again."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def make_display() -> Display:
    """Fitting standard error."""
    return LiveDisplay(Console(stderr=True, highlight=False)) if sys.stderr.isatty() else PlainDisplay()


def budget_line(caps: Sequence[CapLine]) -> str:
    """ "50,000 of 100,000 tokens, 3 of 8 tool calls"."""
    return ", ".join(f"{spent:,} of {limit:,} {resource.replace('_', ' ')}" for resource, spent, limit in caps)


def _figures(snapshot: Snapshot, rate: float) -> list[str]:
    parts = [f"{snapshot.trees}/{snapshot.total} trees", f"{number(snapshot.leaves)} leaves", f"{rate:,.0f} tokens/s"]
    if snapshot.sharing is not None:
        parts.append(f"sharing {snapshot.sharing:.2f}")
    if snapshot.caps:
        parts.append(f"budget: {budget_line(snapshot.caps)}")
    if snapshot.deadline is not None:
        parts.append(f"{max(0.0, snapshot.deadline - time.time()):.0f} s left")
    if snapshot.mean_reward is not None:
        parts.append(f"mean reward {snapshot.mean_reward:.3f}")
    if snapshot.failed:
        parts.append(f"{snapshot.failed} failed")
    if snapshot.dropped:
        parts.append(f"{snapshot.dropped} dropped")
    if snapshot.reward_errors:
        parts.append(f"{snapshot.reward_errors} reward errors")
    return parts


def _panel(snapshot: Snapshot, rate: float) -> RenderableType:
    bar = ProgressBar(
        total=max(snapshot.total, 1), completed=snapshot.trees + snapshot.failed + snapshot.dropped, width=60
    )
    # A bar of its own ends no line.
    return Group(Padding(bar, 0), Text(" · ".join(_figures(snapshot, rate))), _replicas(snapshot.replicas))


def _replicas(replicas: Sequence[ReplicaLine]) -> RenderableType:
    if len(replicas) > MANY_REPLICAS:
        states = Counter(state for _, state, _, _ in replicas)
        return Text(f"{len(replicas)} replicas: " + ", ".join(f"{count} {state}" for state, count in states.items()))
    rows = [(name, state, f"{branches}/{slots}") for name, state, branches, slots in replicas]
    return table("", ("replica", "state", ">branches"), rows)

"""A branch policy whose every decision is measured: by the clock, or in lines of Python."""

import gc
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from treeroll.policy.base import Expansion, Growth
from treeroll.testing.observed import ObservedPolicy
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree

Decide = Callable[..., list[Expansion]]


@dataclass(frozen=True, slots=True)
class Clock:
    """Nanoseconds that each call took."""

    calls: "array[int]" = field(default_factory=lambda: array("q"))

    def measure(self, decide: Decide, *seen: Any) -> list[Expansion]:
        """What it decides."""
        began = time.perf_counter_ns()
        expansions = decide(*seen)
        self.calls.append(time.perf_counter_ns() - began)
        return expansions


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of Python that each call ran: its work, the same on any machine, however cold its caches are.

    Calls and returns count as lines do. What one line leaves to C is not counted (the length of a list it sorts, say).
    """

    calls: "array[int]" = field(default_factory=lambda: array("q"))

    def measure(self, decide: Decide, *seen: Any) -> list[Expansion]:
        """What it decides."""
        counted = 0

        def count(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal counted
            counted += 1
            return count

        before, collecting = sys.gettrace(), gc.isenabled()
        # A collection here would run the finalizers of whatever else is garbage, and count their lines.
        gc.disable()
        sys.settrace(count)
        try:
            return decide(*seen)
        finally:
            sys.settrace(before)
            if collecting:
                gc.enable()
            self.calls.append(counted)


@dataclass(frozen=True, slots=True)
class MeasuredPolicy(ObservedPolicy):
    """Does what the policy does; `meter` measures every call."""

    meter: Clock | Lines

    def grow(self, tree: Tree) -> "MeasuredGrowth":
        """The policy's memory, measured."""
        return MeasuredGrowth(self.policy.grow(tree), self.meter)


@dataclass(slots=True)
class MeasuredGrowth:
    """One tree."""

    growth: Growth
    meter: Clock | Lines

    def start(self, tree: Tree) -> list[Expansion]:
        """First branches."""
        return self.meter.measure(self.growth.start, tree)

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """A node came."""
        return self.meter.measure(self.growth.on_node, tree, node)

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """Nothing runs."""
        return self.meter.measure(self.growth.on_idle, tree)

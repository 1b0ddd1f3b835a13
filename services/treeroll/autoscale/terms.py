"""What the law of autoscaling is told once: the bounds of a pool, and how patient it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one pool. Times in seconds."""

    least: int
    most: int
    step: int | None = None
    """Most replicas that are added or taken away at once; the next ones at the earliest a panic window later."""
    target: float = 0.7
    """Share of the slots that a replica really carries which is to be in use."""
    kv_share: float = 0.8
    """Share of its KV cache that a replica may fill."""
    stable_s: float = 60.0
    panic_s: float = 6.0
    shrink_delay_s: float = 300.0
    """A pool shrinks to the largest size that was wanted in so long, and not before it was watched for so long."""
    drain_s: float = 600.0
    """What a replica runs may end there for so long, when it is taken away."""
    slots: int = 64
    """Of one replica, for a pool that has none to look at."""

"""What a replica's own metrics are made from."""

from dataclasses import dataclass
from typing import Literal

State = Literal["starting", "connecting", "ready", "draining"]
STATES: tuple[State, ...] = ("starting", "connecting", "ready", "draining")


@dataclass(frozen=True, slots=True)
class ReplicaSeen:
    """One replica at one moment."""

    replica: str
    pool: str
    version: str
    state: State = "starting"
    unacked_segments: int = 0
    reconnects: int = 0
    kv_usage: float = 0.0
    """0 to 1."""
    preempted: int = 0
    """Requests, since it started, as the next."""
    tokens: int = 0

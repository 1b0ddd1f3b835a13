"""Branches go where their prefix is cached."""

from typing import ClassVar

from pydantic import Field

from treeroll.policy import base
from treeroll.policy.base import Limits


class ParentAffinity:
    """The replica that generated the prefix holds its KV: queue there. A new tree, or a prefix whose replica is gone,
    goes to whichever replica is free first.

    A replica with a free slot takes what queues at another only if that one leads by far: a short queue moves on soon,
    and its branches then find their prefix cached.
    """

    name: ClassVar[str] = "parent_affinity"
    summary: ClassVar[str] = "the replica that holds the parent's KV, else the first free one"
    paper: ClassVar[str] = "ours"

    class Params(base.Params):
        """When idle replicas help."""

        steal_margin: float | None = Field(
            0.5, ge=0, description="lead in branches, as a share of slots, above which others take over; none is never"
        )

    def __init__(self, params: Params, limits: Limits) -> None:
        self.steal_margin = params.steal_margin

    def home(self, parent_replica: str, replicas: list[str], placements: int) -> str | None:
        """Replica whose queue the branch joins."""
        return parent_replica or None

"""Branches go where their prefix is cached."""

from typing import ClassVar

from pydantic import Field

from treeroll.policies import base
from treeroll.policies.base import Limits


class ParentAffinity:
    """The replica that generated the prefix holds its KV: queue there. A new tree, or a prefix whose replica is gone,
    goes to whichever replica is free first.

    With `steals`, an idle replica takes what queues at a full one: recomputing a prefix is cheaper than an idle engine.
    """

    name: ClassVar[str] = "parent_affinity"
    summary: ClassVar[str] = "the replica that holds the parent's KV, else the first free one"
    paper: ClassVar[str] = "ours"

    class Params(base.Params):
        """Whether idle replicas help."""

        steals: bool = Field(True, description="let an idle replica take branches queued at a full one")

    def __init__(self, params: Params, limits: Limits) -> None:
        self.steals = params.steals

    def home(self, parent_replica: str, replicas: list[str], turn: int) -> str | None:
        """Replica whose queue the branch joins."""
        return parent_replica or None

"""How a run's trees reach trainers: its rules from its configuration, and what consumers tell the core of it.

What cannot work is refused here, before the run exists or before a consumer waits for what cannot come.
"""

import asyncio

from treeroll.config import RunConfig
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.core.model.delivery import DeliveryRules
from treeroll.core.model.events import GroupHeard
from treeroll.core.scheduling import runs
from treeroll.errors import InvalidInput


def delivery_rules(config: RunConfig) -> DeliveryRules:
    """What a configuration says of delivery. InvalidInput names what clashes."""
    return DeliveryRules(ahead=config.ahead, group_idle_s=config.group_idle_s)


class Pacing:
    """Tells the core how far consumer groups have come, where growth waits for them. Asks the store, which knows."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._turn = asyncio.Lock()

    async def heard(self, run_id: str, group: str, batch_trees: int = 0) -> None:
        """A consumer of the group asked, renewed, acknowledged or gave back.

        InvalidInput if it wants `batch_trees` trees before it acknowledges any, and the run grows fewer: it would wait
        for ever.
        """
        ahead = runs.get(self._coordinator.state, run_id).spec.delivery.ahead
        if ahead is None:
            return
        if batch_trees > ahead:
            raise InvalidInput(
                f"batches of {batch_trees} trees of run '{run_id}' would never be full: ahead is {ahead}, so no more "
                "grow before some are acknowledged; ask for fewer trees, or create the run with a larger ahead"
            )
        async with self._turn:  # what was asked first is told first
            owed = await self._coordinator.store.unacknowledged(run_id, group)
            self._coordinator.post_nowait(Item([GroupHeard(run_id, group, owed.delivered, tuple(owed.pending))]))

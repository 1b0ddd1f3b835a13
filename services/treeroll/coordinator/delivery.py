"""How a run's trees reach trainers: its rules from its configuration, and what consumers tell the core of it.

What cannot work is refused here, before the run exists or before a consumer waits for what cannot come.
"""

import asyncio

from treeroll.config import RunConfig
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.coordinator.records import CLIENT_SCORER
from treeroll.core.model.delivery import DeliveryRules
from treeroll.core.model.events import GroupHeard, TreesWithheld
from treeroll.core.scheduling import runs
from treeroll.errors import InvalidInput


def delivery_rules(config: RunConfig, most_leaves: int) -> DeliveryRules:
    """What a configuration says of delivery. InvalidInput names what cannot work where trees have so many leaves."""
    wanted, drop = config.min_scored, frozenset(config.drop)
    by_rewards = [key for key, asked in (("min_scored", wanted), ("drop", "zero_advantage" in drop)) if asked]
    if by_rewards and config.scorer in (None, CLIENT_SCORER):
        raise InvalidInput(
            f"{by_rewards[0]} drops trees by their rewards, but scorer is {config.scorer!r}, so none has any when it "
            "ends, and all would be dropped; set scorer, or look at batch.trainable in the trainer"
        )
    if wanted is not None and wanted > most_leaves:
        raise InvalidInput(
            f"min_scored is {wanted}, but no tree has more than {most_leaves} leaves, so all would be dropped; lower it"
        )
    if config.window is not None and config.ahead is None:
        raise InvalidInput(
            "order is 'window', but ahead is not set, so trees without bound would wait for a slow one; set ahead"
        )
    if config.window is not None and config.route:
        raise InvalidInput(
            "order is 'window' and route shares the run's tasks out over several models, so that trees might wait for "
            "one that has no place left to start; use one model, or order fifo"
        )
    return DeliveryRules(
        ahead=config.ahead, group_idle_s=config.group_idle_s, min_scored=wanted or 0, drop=drop, window=config.window
    )


class Pacing:
    """Tells the core how far consumer groups have come, where growth waits for them. Asks the store, which knows."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._turn = asyncio.Lock()

    def withheld(self, run_id: str, tree_ids: list[str]) -> None:
        """Trees of the run were delivered without their samples."""
        self._coordinator.post_nowait(Item([TreesWithheld(run_id, tree_ids)]))

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

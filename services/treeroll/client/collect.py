"""Trees that are asked for by name, for trainers that want the completions of the prompts they gave."""

from collections.abc import Awaitable, Callable, Sequence

from treeroll.checks import check_several, check_text
from treeroll.client.channel import Channel
from treeroll.client.credit import RewardReports
from treeroll.client.patience import Patience, check_timeout
from treeroll.client.records import tree_id_of
from treeroll.client.status import RunStatus
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2

# How long the service waits for a tree, seconds; and ids in one request.
WAIT_S = 10.0
MAX_IDS = 10_000


class CollectedTrees:
    """The trees of a batch that was asked for: nobody holds a lease of them, so there is nothing to settle."""

    number = 0
    whole: rollout_pb2.LeaseBatchReply | None = None
    """It is of no iterator, and no share of a global batch."""

    def __init__(self, deliveries: Sequence[rollout_pb2.Delivery], reports: RewardReports) -> None:
        self.deliveries = deliveries
        self.reports = reports
        self.lost: list[str] = []

    def origin(self) -> None:
        """Whose it is: nobody's."""

    def hand_over(self) -> None:
        """No effect."""

    def is_from(self, holder: object) -> bool:
        """Whether it is of an iterator's batches: never."""
        return False

    async def ack(self) -> None:
        """No effect."""

    async def release(self) -> None:
        """No effect."""


async def collect(
    channel: Channel,
    run_id: str,
    tree_ids: Sequence[str],
    timeout_s: float | None,
    status: Callable[[], Awaitable[RunStatus]],
) -> CollectedTrees:
    """The trees in the order of their ids, all of them; see `Run.collect`."""
    check_timeout(timeout_s)
    if isinstance(tree_ids, str):
        raise InvalidInput("tree_ids must be a list of ids; put a single one in a list")
    check_several("tree_ids", tree_ids, "ids of trees")
    for tree_id in tree_ids:
        check_text("tree_id", tree_id)
    if len(set(tree_ids)) < len(tree_ids):
        raise InvalidInput("tree_ids has an id twice; ask for each tree once")
    found: dict[str, rollout_pb2.Delivery] = {}
    patience = Patience(status, timeout_s, channel.absence.clock)
    while missing := [tree_id for tree_id in tree_ids if tree_id not in found]:
        wait_s = patience.at_most(WAIT_S)
        request = rollout_pb2.CollectTreesRequest(run_id=run_id, tree_ids=missing[:MAX_IDS], wait_s=wait_s, stored=True)
        reply = await channel.call("CollectTrees", request, rollout_pb2.CollectTreesReply, extra_s=wait_s)
        found |= {tree_id_of(delivery): delivery for delivery in reply.deliveries}
        if reply.deliveries:
            patience.renew()
        else:
            await patience.nothing_came(holding=False, missing=f"none of {len(missing)} trees asked for came")
    return CollectedTrees([found[tree_id] for tree_id in tree_ids], RewardReports(channel, run_id))

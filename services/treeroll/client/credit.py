"""Credit: rewards written back to the service, and what samples are worth after that."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

from treeroll.checks import kind
from treeroll.client.channel import Channel
from treeroll.client.fetch_tree import fetch_tree
from treeroll.client.node import node_id
from treeroll.client.records import TreeRecord, nodes_of
from treeroll.client.sample import samples_of
from treeroll.client.wire import reward_reports
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import common_pb2, rollout_pb2
from treeroll.records.fields import Sample

log = logging.getLogger(__name__)

# Trees fetched at once: each is a message of its own, and the service takes some time to put it together.
TREES_AT_ONCE = 8

NodeReward = tuple[str, str, float]
"""Tree id, path or node id, value."""


class RewardCounts(NamedTuple):
    """What became of reported rewards."""

    applied: int
    repeated: int
    """Equal to what was there: nothing done."""


class RewardReports:
    """The rewards of one run at the service. All methods run on the channel's event loop."""

    def __init__(self, channel: Channel, run_id: str) -> None:
        self._channel = channel
        self.run_id = run_id
        self._said: set[str] = set()

    def warn_once(self, sentence: str, *details: object) -> None:
        """Log what a trainer must hear, but not with every batch."""
        if sentence not in self._said:
            self._said.add(sentence)
            log.warning(sentence, *details)

    async def report(self, rewards: Iterable[NodeReward], scorer: str, version: int) -> RewardCounts:
        """Write rewards, all or none; errors as in `Run.report_rewards`."""
        reports = reward_reports(rewards, scorer, version)
        if not reports:
            return RewardCounts(0, 0)
        request = rollout_pb2.ReportRewardsRequest(run_id=self.run_id, rewards=reports)
        reply = await self._channel.call("ReportRewards", request, rollout_pb2.ReportRewardsReply)
        return RewardCounts(reply.applied, reply.repeated)

    async def trees(self, tree_ids: Sequence[str]) -> list[common_pb2.Tree]:
        """Trees as they are now. Raises UnknownTree."""
        room = asyncio.Semaphore(TREES_AT_ONCE)

        async def fetch(tree_id: str) -> common_pb2.Tree:
            async with room:
                return await fetch_tree(self._channel, tree_id)

        return await asyncio.gather(*map(fetch, tree_ids))


def node_rewards(rewards: Iterable[Any], samples: Sequence[Sample]) -> list[NodeReward]:
    """Rewards of nodes, from those or from one number per sample, in order; None leaves a sample as it is.

    InvalidInput for another number of values than samples, for a mixture of both, or for what has no order.
    """
    if isinstance(rewards, str | bytes | Mapping | Set) or not isinstance(rewards, Iterable):
        raise InvalidInput(f"rewards must be a list with one for each sample, in their order, got {kind(rewards)}")
    given = list(rewards)
    named = [isinstance(reward, tuple | list) for reward in given]
    if given and all(named):
        return given
    if any(named):
        raise InvalidInput("rewards must be one number per sample, or (tree id, path or node id, value), not both")
    if len(given) != len(samples):
        raise InvalidInput(
            f"{len(given)} rewards for the {len(samples)} samples of this batch; give one for each, in the order of "
            "batch.samples, and None where there is no reward"
        )
    pairs = zip(samples, given, strict=True)
    return [(sample.tree_id, sample.sample_id, value) for sample, value in pairs if value is not None]


def renew_samples(samples: Sequence[Sample], tree: common_pb2.Tree) -> None:
    """Give a tree's samples, in place, the credit that the tree has by now."""
    for sample, fresh in zip(samples, samples_of(tree), strict=True):
        sample.renew(fresh)


def renew_record(record: TreeRecord, tree: common_pb2.Tree) -> None:
    """Give a record's nodes, in place, the rewards and values that the tree has by now."""
    record.n_scored = tree.n_scored
    for node, fresh in zip(record.nodes, nodes_of(tree), strict=True):
        node.rewards, node.value = fresh.rewards, fresh.value


def overruled(samples: Sequence[Sample], rewards: Iterable[NodeReward]) -> int:
    """How many of the samples have another reward in force than the one reported for their leaf."""
    given = {node if ":" in node else node_id(tree_id, node): float(value) for tree_id, node, value in rewards}
    return sum(sample.reward != given.get(sample.sample_id, sample.reward) for sample in samples)

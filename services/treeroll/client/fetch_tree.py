"""One tree by name. The service hands out what is stored, in parts; what follows from the whole is worked out here."""

import asyncio

from treeroll.client.channel import Channel
from treeroll.pb.v1 import common_pb2, rollout_pb2
from treeroll.records.assemble import complete


async def fetch_tree(channel: Channel, tree_id: str) -> common_pb2.Tree:
    """A tree as it is now, whole. UnknownTree."""
    request = rollout_pb2.GetTreeRequest(tree_id=tree_id)
    return await asyncio.to_thread(complete, await channel.merged("GetTree", request, common_pb2.Tree))

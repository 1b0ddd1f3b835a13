"""Looking after a Ray cluster while replicas run on it: whether its head answers, and what is to be taken away."""

import asyncio
import logging
import os
import time

from treeroll.foundation import in_thread
from treeroll.generator.ray_config import HeadGone
from treeroll.generator.ray_nodes import draining_nodes

log = logging.getLogger(__name__)

# Ray ends a driver, without a word for people, when its head (the GCS) has been away for so long, seconds.
RAYS_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
RAYS_PATIENCE_S = 60.0
# Of that a fleet waits this share, and says after so many seconds that it waits.
SHARE, SAY_S = 0.7, 5.0


async def leaving_nodes() -> dict[str, float | None]:
    """draining_nodes, as soon as the head answers. HeadGone if it does not for too long; what else Ray raises."""
    began = time.monotonic()
    patience_s = SHARE * float(os.environ.get(RAYS_PATIENCE) or RAYS_PATIENCE_S)
    asking = asyncio.create_task(in_thread(lambda _: draining_nodes()), name="ask-head")
    try:
        if not (await asyncio.wait({asking}, timeout=min(SAY_S, patience_s)))[0]:
            log.warning("the head of the Ray cluster does not answer: replicas work on, and none is started or ended")
            if not (await asyncio.wait({asking}, timeout=patience_s - SAY_S))[0]:
                raise HeadGone(
                    f"the head of the Ray cluster has not answered for {patience_s:.0f} s: start the fleet again when "
                    "it is back; replicas that are left then are found, and till then work on"
                )
            log.warning("the head of the Ray cluster answers again, after %.0f s", time.monotonic() - began)
        return asking.result()
    finally:
        asking.cancel()

"""Where Prometheus finds the replicas of a service, in the form of its HTTP service discovery.

https://prometheus.io/docs/prometheus/latest/http_sd/
"""

import re
from typing import Any

from treeroll.pb.v1 import watch_pb2 as watch

# As an exporter says it; anything else would send a scraper, with its token, where a replica wants it.
URL = re.compile(r"(https?)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]{1,253}):([0-9]{1,5})(/metrics)")


def targets(snapshot: watch.Snapshot | None) -> list[dict[str, Any]]:
    """One group a replica that is not lost and answers Prometheus; none where nobody ever said anything."""
    if snapshot is None:
        return []
    found = [(one, URL.fullmatch(one.origin.metrics)) for one in snapshot.replicas if one.state != "lost"]
    return [
        {
            "targets": [f"{url[2]}:{url[3]}"],
            "labels": {
                "__scheme__": url[1],
                "__metrics_path__": url[4],
                "replica": one.replica_id,
                "pool": one.pool,
            },
        }
        for one, url in found
        if url
    ]

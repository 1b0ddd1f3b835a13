"""Who of a rendered chart reaches what, as a table: the policies' promise, row by row."""

import contextlib
from collections.abc import Iterator

from .network import Place, pod, reaches
from .objects import Object

STRANGER = Place({"app": "stranger"})
ELSEWHERE = Place({"app": "stranger"}, "elsewhere")
OUTSIDE = Place(None, "")
PROMETHEUS = Place({"app": "prometheus"}, "monitoring")
DNS = Place({"k8s-app": "kube-dns"}, "kube-system")
GRPC, HEALTH, REDIS, RAY, METRICS = 7070, 7071, 6379, 10002, 9464


def check(objects: list[Object], trainer: Place | None, store: Place) -> Iterator[str]:
    """`trainer` is one whom the values let in, `store` where they say that Redis is."""
    coordinator = pod(objects, "coordinator")
    replicas = [pod(objects, "replica")] if any(_is_replica(thing) for thing in objects) else []
    rows = [
        ("a stranger", STRANGER, "a coordinator", coordinator, GRPC, "TCP", False),
        ("a stranger", STRANGER, "health checks", coordinator, HEALTH, "TCP", False),
        ("another namespace", ELSEWHERE, "a coordinator", coordinator, GRPC, "TCP", False),
        ("a coordinator", coordinator, "Redis", store, REDIS, "TCP", True),
        ("a coordinator", coordinator, "another port of Redis' host", store, 22, "TCP", False),
        ("a coordinator", coordinator, "DNS", DNS, 53, "UDP", True),
        ("a coordinator", coordinator, "a stranger", STRANGER, 80, "TCP", False),
    ]
    if trainer is not None:
        rows += [
            ("a trainer", trainer, "a coordinator", coordinator, GRPC, "TCP", True),
            ("a trainer", trainer, "health checks", coordinator, HEALTH, "TCP", False),
        ]
    for replica in replicas:
        rows += [
            ("a replica", replica, "a coordinator", coordinator, GRPC, "TCP", True),
            ("a replica", replica, "health checks", coordinator, HEALTH, "TCP", False),
            ("a replica", replica, "Redis", store, REDIS, "TCP", False),
            ("a replica", replica, "DNS", DNS, 53, "UDP", True),
            ("a replica", replica, "the world", OUTSIDE, 443, "TCP", False),
            ("a stranger", STRANGER, "a replica", replica, 8000, "TCP", False),
            ("a coordinator", coordinator, "a replica", replica, 8000, "TCP", False),
            ("Prometheus", PROMETHEUS, "a replica", replica, METRICS, "TCP", "metrics" in replica.ports),
            ("Prometheus", PROMETHEUS, "a replica", replica, 8000, "TCP", False),
            ("a stranger", STRANGER, "a replica", replica, METRICS, "TCP", False),
        ]
    for where, node in _ray(objects):
        rows += [
            (where, node, "a coordinator", coordinator, GRPC, "TCP", True),
            (where, node, "health checks", coordinator, HEALTH, "TCP", False),
            (where, node, "Redis", store, REDIS, "TCP", False),
            (where, node, "DNS", DNS, 53, "UDP", True),
            (where, node, "the world", OUTSIDE, 443, "TCP", False),
            ("a stranger", STRANGER, where, node, RAY, "TCP", False),
            ("a coordinator", coordinator, where, node, RAY, "TCP", False),
            *((where, node, f"{other} of Ray's", to, RAY, "TCP", True) for other, to in _ray(objects)),
        ]
    for who, source, what, target, port, protocol, wanted in rows:
        if reaches(objects, source, target, port, protocol) is not wanted:
            yield f"{who} {'does not reach' if wanted else 'reaches'} {what} at port {port}"


def _ray(objects: list[Object]) -> list[tuple[str, Place]]:
    """The fleet, and a node of the chart's own cluster."""
    found = []
    for component in ("fleet", "ray"):
        with contextlib.suppress(LookupError):
            found.append((f"{component} pod", pod(objects, component)))
    return found


def _is_replica(thing: Object) -> bool:
    return thing["kind"] == "StatefulSet" and thing["metadata"]["labels"]["app.kubernetes.io/component"] == "replica"

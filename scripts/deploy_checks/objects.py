"""Kubernetes objects as plain values, and the pods and containers in them."""

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]


def name(thing: Object) -> str:
    """Kind/name."""
    return f"{thing['kind']}/{thing['metadata']['name']}"


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Where, and the template, for each pod that the objects make: its `metadata` and `spec`."""
    for thing in objects:
        yield from _templates(name(thing), thing) if thing["kind"] != "Pod" else [(name(thing), thing)]


def _templates(where: str, value: Any) -> Iterator[tuple[str, Object]]:
    """A template has containers in its spec, however deep it lies: in a CronJob, in a RayCluster's groups."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _templates(f"{where}[{number}]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "template" and "containers" in item.get("spec", {}):
                yield where, item
            else:
                yield from _templates(f"{where}.{key}" if key not in ("spec", "template") else where, item)


def containers(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Where, and the container, for all of all pods."""
    for where, pod in pods(objects):
        for kind in ("initContainers", "containers", "ephemeralContainers"):
            for container in pod["spec"].get(kind, []):
                yield f"{where} container {container['name']}", container

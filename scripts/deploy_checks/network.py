"""Which pods reach which ports, by the NetworkPolicies among the objects, as the API defines them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .objects import Object, pods

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Place:
    """A pod of some namespace, or somebody outside of the cluster (`labels` None)."""

    labels: dict[str, str] | None
    namespace: str = "rollouts"
    namespace_labels: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """Its named ports."""

    @property
    def all_namespace_labels(self) -> dict[str, str]:
        """With the one that each namespace has."""
        return {NAMESPACE_LABEL: self.namespace} | self.namespace_labels


def pod(objects: list[Object], component: str) -> Place:
    """The place of the first pod with this component that the objects make."""
    for _, template in pods(objects):
        if template["metadata"]["labels"].get("app.kubernetes.io/component") == component:
            named = {
                port["name"]: port["containerPort"]
                for container in template["spec"]["containers"]
                for port in container.get("ports", [])
                if "name" in port
            }
            return Place(template["metadata"]["labels"], ports=named)
    raise LookupError(component)


def reaches(objects: list[Object], source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection is let through: by the policies of the source for egress, and of the target for ingress."""
    for way, own, other, key in (("Egress", source, target, "to"), ("Ingress", target, source, "from")):
        chosen = list(_policies(objects, own, way))
        rules = [(rule, policy) for policy in chosen for rule in policy["spec"].get(way.lower()) or []]
        if chosen and not any(_lets(rule, policy, other, target, port, protocol, key) for rule, policy in rules):
            return False
    return True


def _policies(objects: list[Object], place: Place, way: str) -> Iterator[Object]:
    for thing in objects:
        if thing["kind"] == "NetworkPolicy" and way in thing["spec"].get("policyTypes", ["Ingress"]):
            inside = place.labels is not None and thing["metadata"].get("namespace", "rollouts") == place.namespace
            if inside and _selects(thing["spec"]["podSelector"], place.labels or {}):
                yield thing


def _lets(rule: Any, policy: Object, other: Place, target: Place, port: int, protocol: str, key: str) -> bool:
    home = policy["metadata"].get("namespace", "rollouts")
    return (not rule.get("ports") or any(_is_port(entry, target, port, protocol) for entry in rule["ports"])) and (
        not rule.get(key) or any(_is_peer(peer, other, home) for peer in rule[key])
    )


def _is_port(entry: Any, target: Place, port: int, protocol: str) -> bool:
    if entry.get("protocol", "TCP") != protocol:
        return False
    wanted = entry.get("port")
    first = target.ports.get(wanted, -1) if isinstance(wanted, str) else wanted
    return first is None or first <= port <= entry.get("endPort", first)


def _is_peer(peer: Any, other: Place, home: str) -> bool:
    if "ipBlock" in peer:
        return other.labels is None
    if other.labels is None or not _selects(peer.get("podSelector", {}), other.labels):
        return False
    if "namespaceSelector" not in peer:
        return other.namespace == home
    return _selects(peer["namespaceSelector"], other.all_namespace_labels)


def _selects(selector: Any, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items()
    return wanted <= labels.items() and all(_holds(term, labels) for term in selector.get("matchExpressions", []))


def _holds(term: Any, labels: dict[str, str]) -> bool:
    value, values = labels.get(term["key"]), term.get("values", [])
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[term["operator"]]

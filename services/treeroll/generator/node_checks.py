"""What may be wrong with a node of a Ray cluster: a table, for `treeroll doctor` and for a fleet that starts."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from treeroll import __version__
from treeroll.generator.node_facts import NodeFacts
from treeroll.versions import work_together

# Docker gives a container 64 MiB of shared memory unless it is told otherwise, in which processes of one engine do not
# find room for what they tell each other.
SHM_BYTES = 128 << 20
# For Ray's logs and sockets, and what engines compile.
DISK_BYTES = 1 << 30
# Certificates and tokens are in force from one second to another; times in records are compared by people.
CLOCK_S = 2.0
MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Expected:
    """What a node is held against: what there is here."""

    models: Mapping[str, str]
    """Directory -> digest."""
    python: str
    ray: str


Check = Callable[[NodeFacts, Expected], str]
"""What is wrong and what to mend, as the rest of a sentence that begins with the node; "" if nothing is."""


def other_treeroll(node: NodeFacts, expected: Expected) -> str:
    """Replicas are of the coordinator's minor version."""
    if work_together(node.treeroll, __version__):
        return ""
    has = f"has treeroll {node.treeroll}" if node.treeroll else "has no treeroll"
    return f"{has}, and this is {__version__}: install {__version__} there"


def other_python(node: NodeFacts, expected: Expected) -> str:
    """Ray sends code between Pythons of one version only, and its own version."""
    if (node.python, node.ray) == (expected.python, expected.ray):
        return ""
    return (
        f"has Python {node.python} and Ray {node.ray}, and this is Python {expected.python} with Ray {expected.ray}: "
        "make them equal"
    )


def other_model(node: NodeFacts, expected: Expected) -> str:
    """The model must be there, and be the same."""
    for model, why in node.missing.items():
        return f"cannot read model {model} ({why}): put it there under the same path"
    for model, digest in node.models.items():
        if digest != expected.models.get(model, digest):
            return (
                f"has another model at {model}, with digest {digest}, and the one here has {expected.models[model]}: "
                "copy the same one to both"
            )
    return ""


def no_coordinator(node: NodeFacts, expected: Expected) -> str:
    """Replicas dial the coordinator."""
    reasons = [f"{address}: {why}" for address, why in node.unreached.items()]
    if not reasons:
        return ""
    return (
        f"does not reach the coordinator ({'; '.join(reasons)}): name it by an address that all nodes reach (fleet "
        "--address, or coordinator.advertise of the service)"
    )


def other_time(node: NodeFacts, expected: Expected) -> str:
    """Clocks should be alike."""
    if abs(node.ahead_s) <= CLOCK_S:
        return ""
    way = "ahead of" if node.ahead_s > 0 else "behind"
    return f"has a clock that is {abs(node.ahead_s):.1f} s {way} this host's: have both set by NTP"


def little_room(node: NodeFacts, expected: Expected) -> str:
    """Engines and Ray need shared memory and disk."""
    return why_little_room(node.shm_free, node.disk_free)


def why_little_room(shm_free: int, disk_free: int) -> str:
    """The same of any host with so many bytes free in /dev/shm, and for temporary files."""
    if shm_free < SHM_BYTES:
        return (
            f"has {shm_free // MIB} MiB free in /dev/shm, and engines need {SHM_BYTES // MIB} or more: give its "
            "container more (--shm-size, or an emptyDir in memory)"
        )
    if disk_free < DISK_BYTES:
        return (
            f"has {disk_free // MIB} MiB free for temporary files, and Ray and engines need "
            f"{DISK_BYTES // MIB} or more: make room there"
        )
    return ""


def open_ray(node: NodeFacts, expected: Expected) -> str:
    """Whoever reaches a Ray without a token runs code on its nodes."""
    if node.auth_mode == "token":
        return ""
    return "asks nobody for a token, so who reaches it runs code there: start its Ray with RAY_AUTH_MODE=token"


NEEDED: Mapping[str, Check] = {
    "treeroll": other_treeroll,
    "model": other_model,
    "coordinator": no_coordinator,
}
"""Without which a replica there cannot work."""
ALL: Mapping[str, Check] = {
    **NEEDED,
    "python and ray": other_python,
    "clock": other_time,
    "room": little_room,
    "ray's token": open_ray,
}


def complaints(
    nodes: Iterable[NodeFacts], expected: Expected, checks: Mapping[str, Check]
) -> Iterator[tuple[str, str]]:
    """What is wrong: the name of the check, and a sentence that names the node. The first of a node's is the cause of
    what else is missing there, so a node without treeroll has no other."""
    for node in nodes:
        for name, check in checks.items():
            if said := check(node, expected):
                yield name, f"node {node.node} of the Ray cluster {said}"
                if check is other_treeroll:
                    break

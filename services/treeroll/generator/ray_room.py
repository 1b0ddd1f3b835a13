"""What a replica takes of a node of Ray, and, while no node has that, in one sentence what is missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from treeroll.generator.config import GeneratorConfig

SIMULATED_CPUS = 0.1
# Ray labels each node with its id.
NODE_LABEL = "ray.io/node-id"


@dataclass(frozen=True, slots=True)
class Needs:
    """CPUs and GPUs, as Ray counts them; memory in bytes, and resources of the cluster's own; labels of the node."""

    cpus: float
    gpus: float
    more: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, resources: Mapping[str, float]) -> "Needs":
        """Those that Ray says there are."""
        return cls(resources.get("CPU", 0.0), resources.get("GPU", 0.0))

    def fit(self, resources: Mapping[str, float]) -> bool:
        """Whether a node that has these could give them."""
        has = self.of(resources)
        rest = all(resources.get(name, 0.0) >= amount for name, amount in self.more.items())
        return has.cpus >= self.cpus and has.gpus >= self.gpus and rest

    def options(self, *, spread: bool, avoided: Iterable[str] = ()) -> dict[str, Any]:
        """As options of a Ray actor that must not be on nodes with these ids."""
        own = {name: amount for name, amount in self.more.items() if name != "memory"}
        labels = dict(self.labels)
        if left := sorted(avoided):
            labels.setdefault(NODE_LABEL, f"!in({','.join(left)})")
        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            **({"memory": self.more["memory"]} if "memory" in self.more else {}),
            **({"resources": own} if own else {}),
            **({"label_selector": labels} if labels else {}),
            "scheduling_strategy": "SPREAD" if spread else "DEFAULT",
        }

    def __str__(self) -> str:
        """For people."""
        more = [
            f"{amount / 2**30:g} GiB of memory" if name == "memory" else f"{amount:g} {name}"
            for name, amount in self.more.items()
        ]
        more += [f"label {name}={condition}" for name, condition in self.labels.items()]
        return f"{self.cpus:g} CPU and {self.gpus:g} GPU" + "".join(f", {one}" for one in more)


def needs_of(config: GeneratorConfig, cluster: Mapping[str, float]) -> Needs:
    """Of one replica with these settings, in a cluster that has these resources in all."""
    asked, engine = config.ray, config.engine == "vllm"
    cpus = asked.num_cpus if asked.num_cpus is not None else 1 if engine else SIMULATED_CPUS
    on_gpu = config.device == "gpu" or (config.device == "auto" and cluster.get("GPU", 0) > 0)
    more = {**({"memory": float(asked.memory)} if asked.memory is not None else {}), **asked.resources}
    return Needs(cpus, config.tensor_parallel if engine and on_gpu else 0, more, asked.label_selector)


def spreads(config: GeneratorConfig, *, cluster: bool) -> bool:
    """Whether replicas with these settings are to be on different nodes, if they can."""
    return config.ray.scheduling == "spread" or (config.ray.scheduling == "auto" and cluster)


def shortage(needs: Needs, nodes: Mapping[str, Mapping[str, float]], free: Mapping[str, Mapping[str, float]]) -> str:
    """Why no node can take a replica now, as a sentence without a full stop. `nodes` and `free`: what each has in all
    and to give now, by its id."""
    total, left = (
        Needs.of({kind: sum(each.get(kind, 0.0) for each in those.values()) for kind in ("CPU", "GPU")})
        for those in (nodes, free)
    )
    count = f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}"
    has = f"the Ray cluster has {count} with {total}, of which {left} are free"
    large = [name for name, resources in nodes.items() if needs.fit(resources)]
    if not large:
        return f"it needs {needs} on one node, and none is so large: {has}"
    if not any(needs.fit(free.get(name, {})) for name in large):
        return f"it needs {needs} on one node, and none has so much free: {has}"
    return f"it needs {needs} on one node, and Ray has not found one: {has}"

"""What a replica takes of a node of Ray."""

from collections.abc import Mapping
from dataclasses import dataclass

from treeroll.generator.config import GeneratorConfig

SIMULATED_CPUS = 0.1


@dataclass(frozen=True, slots=True)
class Needs:
    """CPUs and GPUs, as Ray counts them."""

    cpus: float
    gpus: float

    @classmethod
    def of(cls, resources: Mapping[str, float]) -> "Needs":
        """Those that Ray says there are."""
        return cls(resources.get("CPU", 0.0), resources.get("GPU", 0.0))

    def fit(self, resources: Mapping[str, float]) -> bool:
        """Whether a node that has these could give them."""
        has = self.of(resources)
        return has.cpus >= self.cpus and has.gpus >= self.gpus

    def __str__(self) -> str:
        """For people."""
        return f"{self.cpus:g} CPU and {self.gpus:g} GPU"


def needs_of(config: GeneratorConfig, cluster: Mapping[str, float]) -> Needs:
    """Of one replica with these settings, in a cluster that has these resources in all."""
    if config.engine != "vllm":
        return Needs(SIMULATED_CPUS, 0)
    return Needs(1, config.tensor_parallel if cluster.get("GPU", 0) > 0 else 0)

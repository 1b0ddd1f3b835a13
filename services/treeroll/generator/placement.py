"""Settings of where Ray is to start replicas."""

import re
from typing import Literal

from pydantic import Field, field_validator

from treeroll.config import Config

# What Ray calls resources and other settings say.
OWN_SETTINGS = {"CPU": "num_cpus", "GPU": "generator.tensor_parallel and .device", "memory": "memory"}
_VALUE = r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
CONDITION = re.compile(rf"!?(in\({_VALUE}(, ?{_VALUE})*\)|{_VALUE})")


class PlacementConfig(Config):
    """What a replica asks of the Ray node that it is to run on; see Ray's options of actors of the same names."""

    num_cpus: float | None = Field(default=None, ge=0.0, le=4096.0)
    """CPUs. None: 1, and for the simulated engine a tenth. On a cluster an engine on CPU keeps to so many cores."""
    memory: int | None = Field(default=None, ge=1)
    """Bytes of memory, for Ray's books alone."""
    resources: dict[str, float] = Field(default_factory=dict)
    """Of the cluster's own resources, by name."""
    label_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the node, as Ray writes such conditions: `ray.io/market-type: "!spot"`."""
    scheduling: Literal["auto", "spread", "pack"] = "auto"
    """`spread` over nodes, or `pack` on few; `auto`: spread on a cluster."""

    @field_validator("resources")
    @classmethod
    def _are_the_clusters_own(cls, resources: dict[str, float]) -> dict[str, float]:
        for name, amount in resources.items():
            if name in OWN_SETTINGS:
                raise ValueError(f"resources has {name}, which is set by {OWN_SETTINGS[name]}")
            if not 0.0 < amount < float("inf"):
                raise ValueError(f"resources wants {amount} of {name}, which is no amount")
        return resources

    @field_validator("label_selector")
    @classmethod
    def _can_be_read(cls, selector: dict[str, str]) -> dict[str, str]:
        for name, condition in selector.items():
            if not CONDITION.fullmatch(condition):
                raise ValueError(
                    f"label_selector wants {name} to be {condition!r}: give a value or in(a, b), ! for not"
                )
        return selector

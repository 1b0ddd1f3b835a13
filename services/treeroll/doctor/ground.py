"""What checks are given, and what they have found out for each other."""

from dataclasses import dataclass, field

from treeroll.channels import Pass
from treeroll.client import ServiceStatus
from treeroll.errors import TreerollError
from treeroll.service import ServiceConfig


@dataclass(slots=True)
class Ground:
    """A service as it is configured, here and now."""

    config: ServiceConfig
    addresses: str
    """By which replicas and clients are to reach it, joined by commas; "" where nobody can know it yet."""
    named: bool
    """Whether somebody named them for this look, so that a service must be there."""
    shown: Pass
    """What this environment has for it."""
    models: dict[str, str] = field(default_factory=dict)
    """Digests of the models that could be read here, by directory."""
    reached: bool = False
    """Somebody answers at one of the addresses."""
    status: ServiceStatus | None = None
    """What the service says of itself to the token of this environment."""
    refusal: TreerollError | None = None
    """Why it does not."""

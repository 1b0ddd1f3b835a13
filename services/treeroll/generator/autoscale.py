"""Settings of how many replicas a pool may have, where its demand says how many it has."""

from pydantic import Field, model_validator

from treeroll.autoscale.terms import Terms
from treeroll.config import Config


class AutoscaleConfig(Config):
    """A pool's replicas follow its demand, between `min` and `max`. Off where `max` is not set."""

    min: int = Field(default=1, ge=0, le=4096)
    """Fewest replicas. 0: none, but only while no run is open."""
    max: int | None = Field(default=None, ge=1, le=4096)
    """Most replicas; None: their number stays as it was set."""
    step: int | None = Field(default=None, ge=1, le=4096)
    """Most replicas that are added or taken away at once, then none for `panic_s`; None: as many as are wanted."""
    target: float = Field(default=0.7, gt=0.0, le=1.0)
    """Share of a replica's slots, as many as its KV cache carries, that is to be in use."""
    stable_s: float = Field(default=60.0, ge=1.0, le=3600.0)
    """Demand is the mean of so many seconds, ..."""
    panic_s: float = Field(default=6.0, ge=1.0, le=600.0)
    """... or of the last so many, when that asks for twice as many replicas as there are. Then none is taken away for
    `stable_s`."""
    shrink_delay_s: float = Field(default=300.0, ge=0.0, le=86400.0)
    """A replica is taken away when none of the last so many seconds wanted it: 5 to 10 times what an engine takes to
    start."""
    drain_s: float = Field(default=600.0, ge=0.0, le=86400.0)
    """What it runs may take so long to end; then others go on with it."""

    @model_validator(mode="after")
    def _agrees(self) -> "AutoscaleConfig":
        if self.max is None:
            fields = type(self).model_fields
            if said := [name for name in fields if getattr(self, name) != fields[name].default]:
                raise ValueError(f"autoscale.{said[0]} is set without autoscale.max, so it says nothing")
            return self
        if self.min > self.max:
            raise ValueError(f"autoscale.min is {self.min}, more than autoscale.max, {self.max}")
        if self.panic_s >= self.stable_s:
            raise ValueError(
                f"autoscale.panic_s is {self.panic_s:g}, and must be shorter than autoscale.stable_s, {self.stable_s:g}"
            )
        return self

    def terms(self, slots: int, kv_share: float) -> Terms | None:
        """What the law is told of a pool with so many slots for each replica; None: it is off."""
        if self.max is None:
            return None
        return Terms(
            self.min, self.max, self.step, self.target, kv_share, self.stable_s, self.panic_s, self.shrink_delay_s,
            self.drain_s, slots,
        )  # fmt: skip

"""How a run's trees reach trainers: how far ahead of them it grows, which it keeps from them, and in which
order they leave."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """What a run says of delivery.

    `ahead`: see `Pace`; None: growth does not wait for consumers. A group that was not heard for `group_idle_s` seconds
    holds nobody up any more. Trees with fewer than `min_scored` scored leaves, and those that a filter named in `drop`
    finds, are dropped when they end: see `core.growth.filters`. `window`: see `Window`; None: trees leave as they end.
    """

    ahead: int | None = None
    group_idle_s: float = 600.0
    min_scored: int = 0
    drop: frozenset[str] = frozenset()
    window: int | None = None

    @property
    def filters(self) -> bool:
        """Whether trees may be dropped."""
        return bool(self.min_scored or self.drop)


AS_THEY_COME = DeliveryRules()

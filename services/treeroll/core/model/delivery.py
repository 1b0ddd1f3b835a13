"""How a run's trees reach trainers: how far ahead of them it grows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """What a run says of delivery.

    `ahead`: see `Pace`; None: growth does not wait for consumers. A group that was not heard for `group_idle_s` seconds
    holds nobody up any more.
    """

    ahead: int | None = None
    group_idle_s: float = 600.0


AS_THEY_COME = DeliveryRules()

"""What a branch policy says of the models that it has branches served by."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class NamesModels(Protocol):
    """What a branch policy also has if it has branches served by other models than their tree's.

    Runs of a service that does not serve them refuse it then.
    """

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that it may name."""
        ...


def named_models(policy: object) -> tuple[str, ...]:
    """Models that the policy's branches may be served by, other than their tree's."""
    return tuple(policy.models) if isinstance(policy, NamesModels) else ()

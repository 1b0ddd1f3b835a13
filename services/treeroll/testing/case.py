"""A policy on trial: how to build it, and how to say what it did wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from treeroll.errors import TreerollError
from treeroll.policy.base import Limits
from treeroll.policy.needs import Needs
from treeroll.policy.shape import class_flaws, object_flaws

LIMITS: Final = Limits(leaves=16, segment_tokens=32, max_depth=4, max_tokens=128)
"""The run that policies are tried in, unless a check is given another."""


class NotConformant(AssertionError):
    """A policy breaks a promise; the message names policy, promise and how."""


def declares(needs: Needs, text: str) -> bool:
    """Whether all characters of a text that a policy writes are in texts that it says it inserts."""
    return set(text) <= set("".join(needs.inserts))


@dataclass(frozen=True, slots=True)
class Case:
    """One class with parameters and limits."""

    kind: str
    policy: Any
    params: Mapping[str, object]
    limits: Limits

    @classmethod
    def of(cls, kind: str, policy: Any, params: Mapping[str, object] | None, limits: Limits) -> "Case":
        """A case whose class can be built at all."""
        case = cls(kind, policy, params or {}, limits)
        for flaw in class_flaws(policy):
            raise case.broken("Shape", flaw)
        for flaw in object_flaws(kind, case.build()):
            raise case.broken("Shape", flaw)
        return case

    def build(self) -> Any:
        """A fresh policy object."""
        try:
            return self.policy(self.policy.Params.model_validate(dict(self.params)), self.limits)
        except (ValidationError, TreerollError) as error:
            raise self.broken("Shape", f"refuses {dict(self.params)} with {self.limits}: {error}") from error

    def broken(self, promise: str, how: str) -> NotConformant:
        """The error to raise."""
        name = getattr(self.policy, "name", self.policy)
        return NotConformant(f"{promise}: {self.kind} policy '{name}' {how}")

    def require(self, kept: bool, promise: str, how: str) -> None:
        """Raise unless the promise is kept."""
        if not kept:
            raise self.broken(promise, how)

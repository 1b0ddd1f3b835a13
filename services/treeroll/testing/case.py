"""A policy on trial: how to build it, and how to say what it did wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from pydantic import ValidationError

from treeroll.errors import TreerollError
from treeroll.policy.base import Limits
from treeroll.policy.needs import Needs
from treeroll.policy.shape import class_flaws, object_flaws
from treeroll.why import MOST_TERMS, Why, terms_of

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

    def check_why(self, why: Why | None, what: str) -> None:
        """A class with `explains` gives a rule of those with its decisions, and every term that its sentence has."""
        explains = getattr(self.policy, "explains", None)
        if explains is None:
            return
        self.require(why is not None, "Explains", f"{what} and does not say why, though it has `explains`")
        if why is None:
            return
        self.require(why.rule in explains, "Explains", f"{what} by rule {why.rule!r}, which is not in `explains`")
        given, wanted = [name for name, _ in why.terms], terms_of(explains[why.rule])
        whole = set(given) >= set(wanted) and len(given) <= MOST_TERMS
        finite = all(isfinite(value) for _, value in why.terms)
        self.require(whole and finite, "Explains", f"{what} by {why}; the rule's sentence has the terms {wanted}")

    def broken(self, promise: str, how: str) -> NotConformant:
        """The error to raise."""
        name = getattr(self.policy, "name", self.policy)
        return NotConformant(f"{promise}: {self.kind} policy '{name}' {how}")

    def require(self, kept: bool, promise: str, how: str) -> None:
        """Raise unless the promise is kept."""
        if not kept:
            raise self.broken(promise, how)

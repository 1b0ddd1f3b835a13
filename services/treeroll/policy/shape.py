"""What a class must have to be a policy, checked before anything asks it for a decision."""

from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from treeroll.policy.needs import ASKED, needs_flaws

# What the core asks of a policy object, by kind; see `base`.
DECIDES: Final[dict[str, tuple[str, ...]]] = {
    "segment": ("needs", "hold", "delimiter", "tool", "boundaries"),
    "branch": ("needs", "max_leaves", "grow"),
    "prune": ("needs", "judge"),
    "advantage": ("estimate",),
    "placement": ("steal_margin", "home"),
    "allocate": ("asked", "needs", "most", "least", "success", "open"),
    "route": ("models", "rated", "success", "open"),
}


def class_flaws(policy: Any) -> Iterator[str]:
    """What keeps something from being a policy class, each as the end of a sentence; nothing if it is one."""
    if not isinstance(policy, type):
        yield "is no class"
        return
    for attribute in ("name", "summary", "paper"):
        text = getattr(policy, attribute, None)
        if not isinstance(text, str) or not text or "\n" in text:
            yield f"has no {attribute}, one line of text"
    params = getattr(policy, "Params", None)
    if not (isinstance(params, type) and issubclass(params, BaseModel)):
        yield "has no Params, a subclass of treeroll.policy.Params"
    elif params.model_config.get("extra") != "forbid" or not params.model_config.get("frozen"):
        yield "has Params that are not frozen or take unknown keys; derive them from treeroll.policy.Params"


def object_flaws(kind: str, policy: object) -> Iterator[str]:
    """What a policy object of this kind lacks, each as the end of a sentence."""
    asked = DECIDES[kind]
    if kind == "segment" and getattr(policy, "tool", None) is not None:
        asked += ("remark",)
    for attribute in asked:
        if not hasattr(policy, attribute):
            remedy = (
                "; set treeroll.policy.Needs() with what it reads" if attribute == "needs" and kind in ASKED else ""
            )
            yield f"has no '{attribute}', which a {kind} policy needs{remedy}"
    if kind in ASKED and hasattr(policy, "needs"):
        yield from needs_flaws(kind, policy.needs)

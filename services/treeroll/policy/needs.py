"""What a policy needs of a run, in one value: the core asks nothing else of a policy before it lets it decide."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Needs:
    """What a policy reads, and what runs must have for it. All is off by default; what is off it does not get.

    Branch policies may need anything, prune policies `tokens` and `entropy`, segment policies `inserts`. All of a
    policy's objects that differ in their limits only need the same.
    """

    hold: bool = False
    """Paths wait at boundaries (hold mode), and only those go on that an expansion names.

    Without it paths that wait all the same (behind a tool's answer, say) go on by themselves.
    """
    rewards: bool = False
    """`on_idle` reads `tree.rewards`: it is then called only once every leaf has been scored. Runs need a scorer."""
    tokens: bool = False
    """The `tokens` of nodes are read, or nodes are split; of a prune policy, a segment's `tokens` and `recent`."""
    text: bool = False
    """The `text` of nodes is read."""
    entropy: float | None = None
    """Nats that some token's entropy must reach before the policy acts on any, 0: on all; None: it reads none.

    Runs without `top_logprobs`, and models whose tokens cannot have so much, are refused.
    """
    judge: bool = False
    """`tree.values` is read: `on_node` waits for the run's judge wherever a path is held, in hold mode only."""
    inserts: tuple[str, ...] = ()
    """Every text that it may put into paths; where it makes them, some with all characters that they may have.

    Runs whose tokenizer cannot write them are refused.
    """
    models: tuple[str, ...] = ()
    """Every model that it may have branches served by, other than their tree's. Services without one refuse runs."""


# What policies of a kind may need. Other kinds need nothing.
ASKED: Final[Mapping[str, frozenset[str]]] = {
    "segment": frozenset({"inserts"}),
    "branch": frozenset(field.name for field in fields(Needs)),
    "prune": frozenset({"tokens", "entropy"}),
}


def needs_flaws(kind: str, needs: object) -> Iterator[str]:
    """What is wrong with the `needs` of a policy object of this kind, each as the end of a sentence."""
    if not isinstance(needs, Needs):
        yield f"has needs {needs!r}, which is no treeroll.policy.Needs"
        return
    for field in fields(needs):
        value = getattr(needs, field.name)
        if not _fits(field.default, value):
            yield f"has needs.{field.name} {value!r}; it must be {_WANTED[type(field.default)]}"
        elif value != field.default and field.name not in ASKED[kind]:
            yield f"has needs.{field.name} {value!r}, which a {kind} policy does not get"


_WANTED: Final[Mapping[type, str]] = {
    bool: "a bool",
    type(None): "nats, 0 or more, or None",
    tuple: "a tuple of texts, none of them empty",
}


def _fits(default: object, value: Any) -> bool:
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(isinstance(text, str) and text for text in value)
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0)

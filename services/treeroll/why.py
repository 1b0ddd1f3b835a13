"""Why a policy decided as it did: the rule that fired, and the numbers that it compared.

A policy only returns it, beside its decision; the service keeps it with the node, and says it as a sentence. Of each
rule the policy class has that sentence in `explains`, with the terms in braces.
"""

from collections.abc import Mapping
from string import Formatter
from typing import Final, NamedTuple

# More is no explanation.
MOST_TERMS: Final = 6


class Why(NamedTuple):
    """A rule, "<policy>.<rule>", and its terms by name."""

    rule: str
    terms: tuple[tuple[str, float], ...] = ()


def because(rule: str, /, **terms: float) -> Why:
    """The rule fired with these terms."""
    return Why(rule, tuple((name, float(value)) for name, value in terms.items()))


# Of decisions that the core takes by itself, or where a policy gives no reason of its own.
START: Final = "start"
REFUSED: Final = "engine.refused"
MASKED: Final = "budget."  # and the name of the account that has too little room
EXPLAINS: Final[Mapping[str, str]] = {
    START: "its policy begins a tree with {branches} branches",
    REFUSED: "{refusals} engine requests of the branch failed, on {replicas} replicas",
    f"{MASKED}tokens": "{need} tokens may be needed, and the run's budget has {room} of {cap} left",
    f"{MASKED}task_tokens": "{need} tokens may be needed, and the task's budget has {room} of {cap} left",
    f"{MASKED}tree_tokens": "{need} tokens may be needed, and the tree's budget has {room} of {cap} left",
    f"{MASKED}tokens_per_second": "{need} tokens may be needed, and the run's rate has {room} of {cap} free now",
    f"{MASKED}leaves": "the run's budget has {room} of {cap} leaves left, and {need} may be needed",
    f"{MASKED}expansions": "the run's budget has {room} of {cap} expansions left, and {need} is needed",
    f"{MASKED}tool_calls": "the run's budget has {room} of {cap} tool calls left, and {need} may be needed",
}


def terms_of(sentence: str) -> tuple[str, ...]:
    """The terms that a sentence of `explains` has, each once."""
    return tuple(dict.fromkeys(name for _, name, _, _ in Formatter().parse(sentence) if name))


def sentence(why: Why, explains: Mapping[str, str]) -> str:
    """What happened, in words; rule and terms as they are if nobody explains them, as for a policy that is not here."""
    terms = {name: f"{value:.4g}" if value % 1 else f"{value:.0f}" for name, value in why.terms}
    template = explains.get(why.rule)
    if template is None or not terms.keys() >= set(terms_of(template)):
        return ", ".join([why.rule, *(f"{name} {value}" for name, value in terms.items())])
    return template.format(**terms)

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
EXPLAINS: Final[Mapping[str, str]] = {
    START: "{branches} branches are what its policy begins a tree with",
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

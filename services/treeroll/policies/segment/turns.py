"""Turns of an agent: how many calls a path may make, what it is told of them, and caps from what earlier runs took."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Final, NamedTuple

from treeroll.errors import InvalidInput

FIELDS: Final = ("used", "left", "regime")
HIGH, MEDIUM, LOW = "HIGH", "MEDIUM", "LOW"


@dataclass(frozen=True, slots=True)
class Turns:
    """Calls of one path: `cap` at first, `extension` more, once, for a path that calls again after that."""

    cap: int
    extension: int = 0

    @property
    def most(self) -> int:
        """Calls that any path may make."""
        return self.cap + self.extension

    def left(self, used: int) -> int:
        """Calls that a path which has made `used`, 1 to `most`, is told it has left."""
        return self._granted(used) - used

    def share(self, used: int) -> float:
        """The same as a share of what it may make by then, 0..1."""
        return self.left(used) / self._granted(used)

    def _granted(self, used: int) -> int:
        return self.cap if used <= self.cap else self.most


def check_template(template: str, where: str) -> None:
    """InvalidInput unless the template is one line whose only fields are FIELDS, without formats of their own."""
    if "\n" in template:
        raise InvalidInput(f"{where} must be one line; it ends with a line break by itself")
    try:
        for _, field, spec, conversion in Formatter().parse(template):
            if field is not None and (field not in FIELDS or spec or conversion):
                raise InvalidInput(
                    f"{where} has a field {{{field}}}; there is {', '.join(map('{{{}}}'.format, FIELDS))}"
                )
    except ValueError as error:
        raise InvalidInput(f"{where} is no template: {error}; write {{{{ and }}}} for braces") from None


class TurnCaps(NamedTuple):
    """Settings `turn_cap` and `turn_extension` of segment policy `agent_step`."""

    cap: int
    extension: int


def turn_caps(turns: Sequence[int]) -> TurnCaps:
    """Caps from the calls that paths of an earlier run made, one number per path: cap P50, extension P75 - P50.

    That pairing is ours: turn control (arXiv 2510.16786) recommends P75 as a fixed cap, and a lower cap with one
    extension over it, but which percentiles pair up could not be read. Each is at least 1. Percentiles are the smallest
    number of calls that so many of the paths did not exceed. InvalidInput without a path.
    """
    if not turns:
        raise InvalidInput("turn caps need the calls of at least one path")
    ordered = sorted(turns)
    cap = max(1, percentile(ordered, 50))
    return TurnCaps(cap, max(1, percentile(ordered, 75) - cap))


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The smallest of these ascending numbers that `percent` in a hundred of them do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]

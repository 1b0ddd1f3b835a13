"""How a run names its scorer: `name` or `name:argument`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """A parsed scorer string. Everything after the first colon is the argument, colons included."""

    name: str
    argument: str = ""

    @classmethod
    def parse(cls, text: str) -> "ScorerSpec":
        """Split; never fails. Whether it means anything, the registry knows."""
        name, _, argument = text.partition(":")
        return cls(name.strip(), argument)

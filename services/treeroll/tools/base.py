"""What a tool is: text in, text out."""

from typing import Protocol

# Longest observation of any tool, in characters: what one call may add to a path.
MAX_OBSERVATION_CHARS = 256


class Tool(Protocol):
    """Answers the calls that a model writes into its completion.

    Pure: the same text gets the same observation, on any machine, at any time. So a path can be made again from its
    own tokens, and an observation never has to be asked for twice.
    """

    @property
    def name(self) -> str:
        """Registered name."""
        ...

    @property
    def summary(self) -> str:
        """One line, for people."""
        ...

    @property
    def call_end(self) -> str:
        """Text with which the model ends a call."""
        ...

    def answer(self, text: str) -> str:
        """The observation that follows `text`, a completion so far that ends in `call_end`, to be appended as it is.

        `text` is model output, so hostile: nothing in it makes this raise or take long. A call that cannot be
        answered gets an observation that says so. 1 to MAX_OBSERVATION_CHARS printable ASCII characters and newlines,
        without `call_end`.
        """
        ...

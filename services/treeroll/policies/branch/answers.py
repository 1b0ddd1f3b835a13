"""The answer of a path, for growths that compare answers."""

from typing import Literal

from pydantic import Field

from treeroll.boxed import last_boxed
from treeroll.policy import base


class AnswerParams(base.Params):
    r"""Where answers stand.

    `boxed`: in the last \boxed{...} of a path; a path without one has no answer. `text`: all of a path's text. Answers
    are the same if they are the same words: `1/2` and `0.5` are two.
    """

    answer: Literal["boxed", "text"] = Field("boxed", description="what the answer of a path is")

    def read(self, text: str) -> str | None:
        """The answer of a path's text in canonical form; None without one."""
        found = last_boxed(text) if self.answer == "boxed" else text
        return None if found is None else " ".join(found.split())

"""The scorer of the family treeroll.subset_sum: a sum in a range, of numbers that the task has."""

from treeroll.boxed import last_boxed
from treeroll.scorers.answers import behind_thoughts
from treeroll.scorers.base import MissingInput, ScoreItem
from treeroll.subset_sum.puzzle import Puzzle


class SubsetScorer:
    r"""1.0 if the last \boxed{...} lists different numbers of the task, two digits each, with a sum in its range."""

    name = "subset"
    version = 1

    def check_fields(self, item: ScoreItem) -> None:
        """MissingInput without `numbers`, `low` and `high`, ValueError if they are no puzzle."""
        self._puzzle(item)

    def score(self, item: ScoreItem) -> float:
        """1.0 or 0.0. MissingInput or ValueError for a task that is no puzzle."""
        picked = last_boxed(behind_thoughts(item.completion, item.prompt))
        return float(self._puzzle(item).solved_by(picked or ""))

    @staticmethod
    def _puzzle(item: ScoreItem) -> Puzzle:
        for field in ("numbers", "low", "high"):
            if item.extra.get(field) is None:
                raise MissingInput(f"the task has no field '{field}'")
        numbers, low, high = (item.extra[field] for field in ("numbers", "low", "high"))
        if not isinstance(numbers, list) or not numbers or not all(map(_is_number, numbers)):
            raise ValueError("the task's 'numbers' are no list of whole numbers from 1 to 99")
        if not all(isinstance(bound, int) and not isinstance(bound, bool) for bound in (low, high)) or low > high:
            raise ValueError("the task's 'low' and 'high' are no two whole numbers in order")
        return Puzzle(tuple(numbers), low, high)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 100

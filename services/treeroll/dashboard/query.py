"""TreeQuery: which trees are asked for, in which order, from where on; and the SQL of an index that answers it."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from treeroll.errors import InvalidInput

# What a list may be ordered by -> the expression. Figures that are not there come last when the most come first.
ORDERS = {
    "arrival": "place",
    "wasted": "coalesce(wasted_tokens, -1)",
    "tokens": "spent",
    "seconds": "wall_s",
    "leaves": "n_leaves",
    "nodes": "nodes",
    "reward": "coalesce(mean_reward, -1e308)",
    "spread": "coalesce(spread, -1e308)",
    "task": "task_id",
}
MOST = 500


@dataclass(frozen=True, slots=True)
class TreeQuery:
    """Fields as in the URL; "" and None are no condition."""

    q: str = ""
    """Part of a tree's or task's id or of a prompt."""
    run: str = ""
    status: str = ""
    stop: str = ""
    model: str = ""
    replica: str = ""
    signal: str = ""
    """"none": scored, and all rewards equal; "some"."""
    min_reward: float | None = None
    max_reward: float | None = None
    min_waste: int | None = None
    order: str = "arrival"
    direction: str = field(default="desc")
    cursor: str = ""
    limit: int = 100

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> "TreeQuery":
        """From the URL. InvalidInput naming what is wrong."""
        known = {column.name: column for column in fields(cls)}
        if unknown := sorted(given.keys() - known.keys()):
            raise InvalidInput(f"there is no filter {unknown[0]!r}; there are {', '.join(known)}")
        values: dict[str, str | float | int] = {}
        for name, text in given.items():
            if text == "":
                continue
            if name in ("min_reward", "max_reward"):
                values[name] = _number(name, text, float)
            elif name in ("min_waste", "limit"):
                values[name] = int(_number(name, text, int))
            else:
                values[name] = text
        query = cls(**values)  # type: ignore[arg-type] # by name, as just read
        query.check()
        return query

    def check(self) -> None:
        """InvalidInput for what cannot be answered."""
        if self.order not in ORDERS:
            raise InvalidInput(f"trees cannot be in the order of {self.order!r}; choose of {', '.join(ORDERS)}")
        if self.direction not in ("asc", "desc"):
            raise InvalidInput(f"direction {self.direction!r} is neither 'asc' nor 'desc'")
        if self.signal not in ("", "none", "some"):
            raise InvalidInput(f"signal {self.signal!r} is neither 'none' nor 'some'")
        if not 0 < self.limit <= MOST:
            raise InvalidInput(f"limit {self.limit} is not from 1 to {MOST}")

    def where(self) -> tuple[str, list[object]]:
        """The condition, but for the cursor, and its values."""
        parts, values = ["1"], list[object]()
        for name, column in (("run", "run_id"), ("status", "status"), ("stop", "stop_reason"), ("model", "model")):
            if wanted := getattr(self, name):
                parts.append(f"{column} = ?")
                values.append(wanted)
        if self.replica:
            parts.append("exists (select 1 from json_each(replicas) where value = ?)")
            values.append(self.replica)
        if self.q:
            parts.append("(instr(tree_id, ?) or instr(lower(task_id), lower(?)) or instr(lower(prompt), lower(?)))")
            values += [self.q] * 3
        if self.signal:
            parts.append("n_scored > 0 and spread = 0" if self.signal == "none" else "spread > 0")
        bounds = (
            ("min_reward", "mean_reward >= ?"),
            ("max_reward", "mean_reward <= ?"),
            ("min_waste", "wasted_tokens >= ?"),
        )
        for name, condition in bounds:
            if (bound := getattr(self, name)) is not None:
                parts.append(condition)
                values.append(bound)
        return " and ".join(parts), values

    def after(self) -> tuple[str, list[object]]:
        """The condition of what comes behind the cursor."""
        if not self.cursor:
            return "1", []
        try:
            value, place = json.loads(urlsafe_b64decode(self.cursor.encode()))
        except ValueError:
            raise InvalidInput("the cursor is not one of this list; begin without one") from None
        sign = "<" if self.direction == "desc" else ">"
        return f"({ORDERS[self.order]}, place) {sign} (?, ?)", [value, place]

    def next_cursor(self, value: object, place: int) -> str:
        """The cursor behind a row."""
        return urlsafe_b64encode(json.dumps([value, place]).encode()).decode()


# What a run's tasks may be ordered by -> the column. Figures that are not there come last.
TASK_ORDERS = {
    "task": "task_id",
    "trees": "trees",
    "leaves": "leaves",
    "tokens": "spent",
    "wasted": "wasted",
    "seconds": "seconds",
    "reward": "mean_reward",
    "spread": "spread",
}


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """A page of a run's tasks, of those that have a tree."""

    run: str
    order: str = "task"
    direction: str = "asc"
    skip: int = 0
    limit: int = 100

    @classmethod
    def parse(cls, run: str, given: Mapping[str, str]) -> "TaskQuery":
        """From the URL. InvalidInput naming what is wrong."""
        known = ("order", "direction", "skip", "limit")
        if unknown := sorted(given.keys() - set(known)):
            raise InvalidInput(f"tasks have no filter {unknown[0]!r}; there is {', '.join(known)}")
        values: dict[str, str | int] = {name: text for name, text in given.items() if text and name in known[:2]}
        values |= {name: int(_number(name, text, int)) for name, text in given.items() if text and name in known[2:]}
        query = cls(run, **values)  # type: ignore[arg-type] # by name, as just read
        if query.order not in TASK_ORDERS:
            raise InvalidInput(f"tasks cannot be in the order of {query.order!r}; choose of {', '.join(TASK_ORDERS)}")
        if query.direction not in ("asc", "desc"):
            raise InvalidInput(f"direction {query.direction!r} is neither 'asc' nor 'desc'")
        if query.skip < 0 or not 0 < query.limit <= MOST:
            raise InvalidInput(f"skip must not be negative, and limit from 1 to {MOST}")
        return query


def _number(name: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        value = kind(text)
    except ValueError:
        raise InvalidInput(f"{name} {text!r} is not a number") from None
    if value != value:
        raise InvalidInput(f"{name} {text!r} is not a number")
    return value

"""Decisions: what a service decided of trees, as the events page shows it: newest first, page by page, to the end."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from treeroll.errors import InvalidInput
from treeroll.policies.registry import sentences
from treeroll.records.decision import Decision, decision
from treeroll.records.events import TREE_KINDS, Event
from treeroll.results.explain import ACCOUNTS, BEGUN
from treeroll.why import sentence

Json = dict[str, Any]

MOST: Final = 200
# What may be asked for beside kinds: who got how much and who did not, paths that were discarded, what was lost or cut.
GROUPS: Final[Mapping[str, frozenset[str]]] = {
    "budget": frozenset({"started", "masked", "cut", "stopped"}),
    "pruned": frozenset({"pruned"}),
    "trouble": frozenset({"masked", "lost", "cut", "stopped", "gap"}),
}
_FILTERS: Final = ("kind", "run", "tree", "replica", "q", "since", "until", "before", "limit")


class Row(NamedTuple):
    """One of them, in its place."""

    place: str
    """Which its source knows it by: `before` has what is older."""
    at: float
    epoch: int
    event: Event


class Pause(NamedTuple):
    """So much was looked at for one answer; what is older is looked at when it is asked for."""

    place: str
    at: float


Rows = Iterator[Row | Pause]


@dataclass(frozen=True, slots=True)
class DecisionQuery:
    """Which of them: kinds, a run, a tree, a replica, a text, a time; up to `limit` before a place."""

    kinds: frozenset[str] = frozenset()
    run: str = ""
    tree: str = ""
    replica: str = ""
    q: str = ""
    """Part of the sentence, the tree's id or the path; capitals do not matter."""
    since: float | None = None
    until: float | None = None
    before: str = ""
    limit: int = 100

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> "DecisionQuery":
        """From a request's query. InvalidInput says what is wrong with it."""
        if odd := sorted(given.keys() - set(_FILTERS)):
            raise InvalidInput(f"decisions have no filter '{odd[0]}'; there is {', '.join(_FILTERS)}")
        kinds: frozenset[str] = frozenset()
        for name in filter(None, given.get("kind", "").split(",")):
            if name not in TREE_KINDS and name not in GROUPS:
                raise InvalidInput(
                    f"there is no kind '{name}' of decisions; there is {', '.join((*TREE_KINDS, *GROUPS))}"
                )
            kinds |= GROUPS.get(name, {name})
        try:
            since, until = (float(given[name]) if given.get(name) else None for name in ("since", "until"))
            limit = int(given.get("limit") or 100)
        except ValueError:
            raise InvalidInput(
                "since and until are times in seconds since the epoch; limit is a whole number"
            ) from None
        if not 0 < limit <= MOST:
            raise InvalidInput(f"limit must be from 1 to {MOST}")
        texts = {name: given.get(name, "") for name in ("run", "tree", "replica", "q", "before")}
        return cls(kinds, since=since, until=until, limit=limit, **texts)

    def takes(self, event: Event) -> bool:
        """Whether it is one of those, its time aside. What is missing is of every run and tree."""
        if event.kind == "gap":
            return not self.kinds or "gap" in self.kinds
        if self.kinds and not self.kinds & {event.kind, event.detail if event.kind == "ended_path" else ""}:
            return False
        if (self.run, self.tree, self.replica) != (
            self.run and event.run,
            self.tree and event.tree,
            self.replica and event.replica,
        ):
            return False
        return not self.q or self.q.lower() in f"{_say(event)} {event.tree} {event.path}".lower()


def page(rows: Rows, query: DecisionQuery) -> Json:
    """The first that match, newest first; `cursor`: where what is older begins, "" if nothing is; `back_to`: the time
    back to which was looked, if there were too many to look at all."""
    items: list[Json] = []
    for row in rows:
        if isinstance(row, Pause):
            return {"items": items, "cursor": row.place, "back_to": row.at}
        if query.takes(row.event):
            if len(items) == query.limit:
                return {"items": items, "cursor": items[-1]["id"], "back_to": None}
            items.append(_item(row))
    return {"items": items, "cursor": "", "back_to": None}


def oldest_first(rows: Callable[[DecisionQuery], Rows], query: DecisionQuery) -> list[Decision]:
    """All that match and are there, in order."""
    found: list[Decision] = []
    while True:
        pause = None
        for row in rows(query):
            if isinstance(row, Pause):
                pause = row
            elif row.event.kind != "gap" and query.takes(row.event):
                found.append(decision(row.at, row.epoch, row.event))
        if pause is None:
            return found[::-1]
        query = replace(query, before=pause.place)


def _item(row: Row) -> Json:
    event = row.event
    return {
        "id": row.place,
        "at": row.at,
        "epoch": row.epoch,
        "kind": event.kind,
        "run": event.run,
        "tree": event.tree,
        "path": event.path,
        "replica": event.replica,
        "reason": event.reason,
        "sentence": _say(event),
        "why": event.why and {"rule": event.why[0], "terms": dict(event.why[1])},
        "page": _page(event),
    }


def _page(event: Event) -> str:
    if not event.tree:
        return "store"
    tree = f"trees/{quote(event.tree, safe='')}"
    return f"{tree}?node={quote(event.path, safe='')}" if event.path else tree


def _say(event: Event) -> str:
    say = _SAID.get(event.kind)
    return say(event) if say is not None else f"{event.kind}: {event.detail or event.reason}"


@cache
def _explains() -> Mapping[str, str]:
    return sentences()


def _because(event: Event) -> str:
    why = event.explained
    return f": {sentence(why, _explains())}" if why is not None else ""


def _path(event: Event) -> str:
    return event.path or "the prompt"


def _detail(event: Event) -> str:
    return f": {event.detail}" if event.detail else ""


def _started(event: Event) -> str:
    on = f" on {event.replica}" if event.replica else ""
    leaves = f", with {event.count} leaves" if event.count else ""
    return f"the tree began{on}{leaves}{_because(event)}"


def _granted(event: Event) -> str:
    account = ACCOUNTS.get(event.reason, event.reason)
    masked = f"; {account} had too little room for it meanwhile" if event.reason else ""
    again = f", attempt {event.count}" if event.count > 1 else ""
    return f"{_path(event)} got a slot of {event.replica} after {event.seconds:.2f} s{again}{masked}"


def _ended_path(event: Event) -> str:
    became = "was discarded" if event.detail == "pruned" else "ended"
    return f"{_path(event)} {became} ({event.reason}){_because(event)}"


_SAID: Final[Mapping[str, Callable[[Event], str]]] = {
    "started": _started,
    "forked": lambda e: f"{e.path} begins, {BEGUN.get(e.reason, e.reason)}{_because(e)}",
    "granted": _granted,
    "masked": lambda e: f"{_path(e)} may not go on, for want of {ACCOUNTS.get(e.reason, e.reason)}{_because(e)}",
    "ended_path": _ended_path,
    "let_end": lambda e: f"nothing goes on behind {_path(e)}{_because(e)}",
    "lost": lambda e: f"branch {e.count} was lost with its replica, and is granted anew",
    "cut": lambda e: f"branch {e.count} was given up while it waited ({e.reason}){_detail(e)}",
    "stopped": lambda e: f"all its branches were stopped, {e.count} while they waited ({e.reason}){_detail(e)}",
    "ended": lambda e: f"the tree ended {e.reason}, with {e.count} {'leaf' if e.count == 1 else 'leaves'}{_detail(e)}",
    "gap": lambda e: e.detail,
}

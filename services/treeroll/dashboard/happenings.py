"""Happenings: what happened to the fleet and the runs, as the events page shows it: newest first, by kind and run."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from treeroll.errors import InvalidInput
from treeroll.records.events import FLEET_KINDS, Event, Gap, read

Json = dict[str, Any]

# Kept in memory: the newest.
KEPT: Final = 10_000
MOST: Final = 200
# What is amiss, or was: for marks in charts, and to be seen first.
INCIDENTS: Final = frozenset(
    {"took_over", "replica_lost", "replica_judged", "run_stopped", "store_paused", "store_filled", "broken", "gap"}
)


def _replica(event: Event) -> str:
    return f"replicas?replica={quote(event.replica, safe='')}"


def _run(event: Event) -> str:
    return f"runs/{quote(event.run, safe='')}"


def _page(name: str) -> Callable[[Event], str]:
    return lambda event: name


# By kind: what happened, and where an operator would look next.
_SAID: Mapping[str, tuple[Callable[[Event], str], Callable[[Event], str]]] = {
    "took_over": (lambda e: f"a coordinator took the store over, epoch {e.count}", _page("overview")),
    "replica_joined": (lambda e: f"replica {e.replica} joined, incarnation {e.count}", _replica),
    "replica_lost": (lambda e: f"replica {e.replica} was lost: {e.reason}", _replica),
    "replica_judged": (
        lambda e: f"replica {e.replica} is {e.reason}: {e.detail or 'its branches end well'}",
        _replica,
    ),
    "weights_published": (
        lambda e: f"weights {e.count} were published{f' for {e.reason}' if e.reason else ''} from {e.detail}",
        _page("replicas"),
    ),
    "run_created": (lambda e: f"run {e.run} was created", _run),
    "tasks_submitted": (lambda e: f"{e.count} tasks were submitted to run {e.run}", _run),
    "run_closed": (lambda e: f"run {e.run} was closed: it takes no more tasks", _run),
    "run_cancelled": (lambda e: f"run {e.run} was cancelled", _run),
    "run_deleted": (lambda e: f"run {e.run} was deleted", _page("runs")),
    "run_stopped": (lambda e: f"run {e.run} came short ({e.reason}): {e.detail}", _run),
    "drained": (lambda e: "the service drains: nothing new begins", _page("overview")),
    "undrained": (lambda e: "the service takes work again", _page("overview")),
    "store_paused": (lambda e: f"the store was away for {e.seconds:.1f} s: {e.detail}", _page("store")),
    "store_filled": (
        lambda e: "the store is nearly full: no tree begins" if e.reason == "full" else "the store has room again",
        _page("store"),
    ),
    "broken": (lambda e: f"a promise was seen broken, {e.reason}: {e.detail}", _page("overview")),
}


@dataclass(frozen=True, slots=True)
class HappeningQuery:
    """Which of them: up to `limit`, before an id and not after a time, of these kinds and this run or replica."""

    kinds: frozenset[str] = frozenset()
    run: str = ""
    replica: str = ""
    until: float | None = None
    before: int | None = None
    limit: int = 100

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> "HappeningQuery":
        """From a request's query. InvalidInput says what is wrong with it."""
        if odd := sorted(given.keys() - {"kind", "run", "replica", "until", "before", "limit"}):
            raise InvalidInput(
                f"events have no filter '{odd[0]}'; there is kind, run, replica, until, before and limit"
            )
        kinds = frozenset(part for part in given.get("kind", "").split(",") if part)
        known = {*FLEET_KINDS, "gap", "incidents"}
        if wrong := sorted(kinds - known):
            raise InvalidInput(f"there is no kind '{wrong[0]}' of events; there is {', '.join(sorted(known))}")
        if "incidents" in kinds:
            kinds = (kinds - {"incidents"}) | INCIDENTS
        try:
            until = float(given["until"]) if given.get("until") else None
            before = int(given["before"]) if given.get("before") else None
            limit = int(given.get("limit") or 100)
        except ValueError:
            raise InvalidInput(
                "until is a time in seconds since the epoch; before and limit are whole numbers"
            ) from None
        if not 0 < limit <= MOST:
            raise InvalidInput(f"limit must be from 1 to {MOST}")
        return cls(kinds, given.get("run", ""), given.get("replica", ""), until, before, limit)


class Happenings:
    """The newest of them, as they were read from a store."""

    def __init__(self) -> None:
        self._rows: deque[Json] = deque(maxlen=KEPT)
        self._count = 0
        self.place = 0
        """Of the log, up to which it was read."""

    def take(self, entries: Iterable[tuple[int, bytes]]) -> None:
        """More of the log, from the place on. What is missing in it becomes a row that says so."""
        entries = list(entries)
        for part in read(entries, self.place):
            if isinstance(part, Gap):
                self._gap(part)
            else:
                for event in part.events:
                    self._add(part.at, part.epoch, event)
        if entries:
            self.place = entries[-1][0]

    def began_anew(self) -> None:
        """The store went back in time: what it has now is read from its beginning."""
        self._gap(Gap(self.place, 0))
        self.place = 0

    def _gap(self, gap: Gap) -> None:
        if not self._rows and gap.after == 0:
            return  # only what is older than all that is kept
        lost = gap.until - gap.after
        said = f"{lost:,} bytes of events are gone" if lost > 0 else "the store went back in time, and events with it"
        at = self._rows[-1]["at"] if self._rows else 0.0
        self._add(at, None, Event("gap", detail=said))

    def _add(self, at: float, epoch: int | None, event: Event) -> None:
        say, lead = _SAID.get(event.kind, (_unknown, _page("overview")))
        self._count += 1
        self._rows.append(
            {
                "id": self._count,
                "at": at,
                "epoch": epoch,
                "kind": event.kind,
                "run": event.run,
                "replica": event.replica,
                "incident": event.kind in INCIDENTS,
                "sentence": event.detail if event.kind == "gap" else say(event),
                "page": lead(event),
            }
        )

    def page(self, query: HappeningQuery) -> Json:
        """The newest that match, with what more there is."""
        rows = list(self._rows)
        found = [row for row in reversed(rows) if _matches(row, query)]
        items = [row for row in found if query.before is None or row["id"] < query.before]
        more = len(items) > query.limit
        items = items[: query.limit]
        return {
            "items": items,
            "matching": len(found),
            "total": len(rows),
            "cursor": items[-1]["id"] if more else None,
            "kinds": dict(sorted(Counter(row["kind"] for row in rows).items())),
            "runs": sorted({row["run"] for row in rows if row["run"]}),
        }

    def incidents(self, since: float) -> list[Json]:
        """What was amiss since then, oldest first: marks for charts."""
        rows = (row for row in list(self._rows) if row["incident"] and row["at"] >= since)
        return [{"at": row["at"], "what": row["sentence"], "kind": row["kind"]} for row in rows]


def _unknown(event: Event) -> str:
    return f"{event.kind}: {event.detail or event.reason}"


def _matches(row: Json, query: HappeningQuery) -> bool:
    wanted: dict[str, Any] = {"run": query.run, "replica": query.replica}
    return (
        (not query.kinds or row["kind"] in query.kinds)
        and (query.until is None or row["at"] <= query.until)
        and all(not value or row[name] == value for name, value in wanted.items())
    )

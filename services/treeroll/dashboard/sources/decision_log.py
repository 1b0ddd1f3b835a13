"""DecisionLog: the log of decisions in a service's store, read backwards in pieces, and only when somebody looks."""

from collections import OrderedDict
from dataclasses import replace
from threading import Lock

from treeroll.dashboard.decisions import DecisionQuery, Json, Pause, Row, Rows, oldest_first, page
from treeroll.dashboard.poller import Poller
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.decision import Decision
from treeroll.records.events import Event, Tick, read

# Bytes of the log that are looked at for one answer.
LOOKED_AT = 8 << 20
# First pages that are kept, so that who follows them costs what is new.
KEPT = 32
# A tree's decisions are looked for so long before its start and after its end: clocks and commits are not exact.
AROUND_S = 5.0


class DecisionLog:
    """Of one store. What it reads it reads through its poller. StoreError where the store does not answer."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._pages: OrderedDict[DecisionQuery, tuple[int, Json]] = OrderedDict()
        self._lock = Lock()

    def page(self, query: DecisionQuery) -> Json:
        """A page of those that match, and the time of the oldest one that is kept."""
        oldest = self._poller.ask(self._poller.reader.log_oldest("ticks"))
        return {**self._found(query), "oldest_at": _at(oldest), "missing": []}

    def of_tree(self, tree_id: str) -> list[Decision]:
        """All of a tree, in order."""
        return oldest_first(self._rows, self._narrowed(DecisionQuery(tree=tree_id)))

    def _found(self, query: DecisionQuery) -> Json:
        if query.before or query.until is not None:
            return page(self._rows(self._narrowed(query)), query)
        end = self._poller.ask(self._poller.reader.log_end("ticks"))
        with self._lock:
            upto, known = self._pages.get(query, (0, None))
        if known is None or upto > end:
            found = page(self._rows(self._narrowed(query)), query)
        else:
            found = _joined(page(self._rows(query, upto), query), known, query.limit)
        with self._lock:
            self._pages[query] = end, found
            self._pages.move_to_end(query)
            while len(self._pages) > KEPT:
                self._pages.popitem(last=False)
        return found

    def _narrowed(self, query: DecisionQuery) -> DecisionQuery:
        """In the time of the tree, if it is of one: there is no need to look elsewhere."""
        if not query.tree:
            return query
        [header] = self._poller.ask(self._poller.reader.headers([query.tree]))
        tree = pb.Tree.FromString(header or b"")
        since, until = query.since, query.until
        if tree.started_at:
            since = max(since or 0.0, tree.started_at - AROUND_S)
        if tree.ended_at:
            until = min(until or tree.ended_at + AROUND_S, tree.ended_at + AROUND_S)
        return replace(query, since=since, until=until)

    def _rows(self, query: DecisionQuery, down_to: int = 0) -> Rows:
        """Newest first, down to a place of the log."""
        reader, left = self._poller.reader, LOOKED_AT
        place, index = _parsed(query.before)
        if place is None and query.until is not None:
            place = self._poller.ask(reader.log_place("ticks", query.until))
        newer: tuple[int, int] | None = None  # where the entry before this one begins, and its place
        while chunk := self._poller.ask(reader.log_back("ticks", place)):
            for at_place, blob, run in chunk:
                if at_place <= down_to:
                    return
                tick = _decoded(at_place, blob)
                if newer is not None and newer[0] != at_place:
                    yield _gap(newer, at_place, tick)
                newer = at_place - len(blob), at_place
                left -= len(blob)
                if isinstance(tick, Tick):
                    if query.since is not None and tick.at < query.since:
                        return
                    if not query.run or run == query.run:
                        stop = index if at_place == place and index is not None else len(tick.events)
                        yield from _newest_first(at_place, tick, stop, query.until)
                if left <= 0:
                    yield Pause(f"{at_place}.0", tick.at if isinstance(tick, Tick) else 0.0)
                    return
            place, index = chunk[-1][0] - 1, None


def _newest_first(place: int, tick: Tick, stop: int, until: float | None) -> Rows:
    if until is None or tick.at <= until:
        for index in range(min(stop, len(tick.events)) - 1, -1, -1):
            yield Row(f"{place}.{index}", tick.at, tick.epoch, tick.events[index])


def _gap(newer: tuple[int, int], older: int, tick: Tick | None) -> Row:
    said = f"{newer[0] - older:,} bytes of decisions are gone: with a run that was deleted, or with the store"
    at, epoch = (tick.at, tick.epoch) if tick is not None else (0.0, 0)
    return Row(f"{newer[1]}.0", at, epoch, Event("gap", detail=said))


def _decoded(place: int, blob: bytes) -> Tick | None:
    """None for what nobody can read."""
    [*_, last] = read([(place, blob)], place - len(blob))
    return last if isinstance(last, Tick) else None


def _at(entry: tuple[int, bytes] | None) -> float | None:
    tick = _decoded(*entry) if entry is not None else None
    return None if tick is None else tick.at


def _joined(fresh: Json, known: Json, limit: int) -> Json:
    """What is new, and what was known before; if what is new is a whole page, that."""
    if fresh["cursor"]:
        return fresh
    items = [*fresh["items"], *known["items"]]
    if len(items) <= limit:
        return {**known, "items": items}
    return {"items": items[:limit], "cursor": items[limit - 1]["id"], "back_to": None}


def _parsed(before: str) -> tuple[int | None, int | None]:
    if not before:
        return None, None
    place, _, index = before.partition(".")
    if not (place.isdecimal() and index.isdecimal() and len(before) < 40):
        raise InvalidInput("the cursor is not one of this list; begin without one")
    return int(place), int(index)

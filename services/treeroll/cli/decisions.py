"""DecisionReader: what a service decides of one run, read from its store while the run goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pyarrow as pa

from treeroll.client.columns import decisions_table
from treeroll.errors import InvalidInput, StoreError
from treeroll.records.decision import Decision, decision
from treeroll.records.events import Gap, read
from treeroll.results.session import Session
from treeroll.store.base import LogEntry, Store
from treeroll.store.factory import make_store

# Entries of one answer: the store serves nobody else while it makes one.
MANY = 200


class DecisionReader:
    """Reads on from the place that the run's session says, and notes there how far it came, and what is missing."""

    def __init__(self, store: Store, session: Session) -> None:
        """`store` needs not be opened: nothing is written."""
        self._store = store
        self._session = session
        self._upto = session.decisions_upto
        self._held: list[pa.Table] = []
        self._turn = asyncio.Lock()
        self._unread = ""

    async def read(self) -> None:
        """Take up all that is there by now. A store that does not answer is asked again the next time."""
        async with self._turn:
            try:
                if await self._store.log_end("ticks") < self._upto:
                    self._miss("the store went back in time, and the log of decisions with it")
                    self._upto = 0
                while page := await self._store.load_log("ticks", self._upto, MANY):
                    rows, gone = await asyncio.to_thread(_rows, page, self._upto, self._session.run_id)
                    if gone:
                        self._miss(
                            f"{gone:,} bytes of the service's log of decisions were gone before they were read: "
                            "a larger store.events_mb keeps more"
                        )
                    if rows.num_rows:
                        self._held.append(rows)
                    self._upto = page[-1][0]
            except StoreError as error:
                self._unread = str(error)
            else:
                self._unread = ""

    def take(self) -> pa.Table | None:
        """What was read since the last time, for the file that is written next; None for nothing."""
        held, self._held = self._held, []
        self._session.decisions_upto = self._upto
        return pa.concat_tables(held) if held else None

    async def finish(self) -> pa.Table | None:
        """The last of them; the session says if the store could not be asked."""
        await self.read()
        if self._unread:
            self._miss(f"the last decisions could not be read: {self._unread}")
        return self.take()

    def _miss(self, sentence: str) -> None:
        self._session.decisions_missing = sentence


@contextlib.asynccontextmanager
async def decisions_of(url: str, session: Session, *, begun: bool) -> AsyncIterator[DecisionReader | None]:
    """A reader of the run's decisions; None, with the reason in the session, where they cannot be read.

    `url`: of the service's store. `begun`: the run is there already; else what was logged before is not looked at.
    """
    if url == "memory":
        session.decisions_missing = "the service keeps its log of decisions in memory, where only it can read it"
        yield None
        return
    try:
        store = make_store(url)
    except InvalidInput as error:
        session.decisions_missing = f"the log of decisions cannot be read: {error}"
        yield None
        return
    try:
        reader = None
        try:
            end = await store.log_end("ticks")
            if not begun:
                session.decisions_upto = end
            reader = DecisionReader(store, session)
        except StoreError as error:
            session.decisions_missing = f"the log of decisions cannot be read: {error}"
        yield reader
    finally:
        await store.close()


def _rows(page: list[LogEntry], after: int, run_id: str) -> tuple[pa.Table, int]:
    """The run's decisions in these entries, and how many bytes before or between them are gone."""
    found: list[Decision] = []
    gone = 0
    for part in read(page, after):
        if isinstance(part, Gap):
            gone += part.until - part.after
        elif part.events[0].run == run_id:  # an entry is of one run
            found += (decision(part.at, part.epoch, event) for event in part.events)
    return decisions_table(found), gone

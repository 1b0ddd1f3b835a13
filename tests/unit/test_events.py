"""Events as they are stored: read in order, and what is missing between them is marked."""

import msgspec

from treeroll.records.events import Event, Gap, Tick, encode, read
from treeroll.why import because

ONE = encode(Tick(1.5, 7, [Event("forked", "run", "tree", "0.1", why=because("aepo.value", value=0.5, tau=0.25))]))
TWO = encode(Tick(2.5, 7, [Event("broken", reason="Bounded", detail="a queue has no end")]))


def log(*blobs: bytes, behind: int = 0) -> list[tuple[int, bytes]]:
    entries = []
    for blob in blobs:
        behind += len(blob)
        entries.append((behind, blob))
    return entries


def test_what_was_written_is_read_in_order() -> None:
    first, second = read(log(ONE, TWO), 0)
    assert isinstance(first, Tick)
    assert isinstance(second, Tick)
    [forked] = first.events
    assert (first.at, first.epoch, forked.kind, forked.run, forked.tree, forked.path) == (
        1.5, 7, "forked", "run", "tree", "0.1",
    )  # fmt: skip
    assert forked.explained == because("aepo.value", value=0.5, tau=0.25)
    assert second.events == [Event("broken", reason="Bounded", detail="a queue has no end")]
    assert second.events[0].explained is None


def test_entries_that_are_gone_leave_a_gap_and_nothing_else() -> None:
    whole = log(ONE, TWO, ONE)
    kinds = [type(part) for part in read([whole[0], whole[2]], 0)]
    assert kinds == [Tick, Gap, Tick]
    assert next(read(whole[1:2], 0)) == Gap(0, len(ONE))


def test_a_log_that_went_back_in_time_is_a_gap_that_ends_before_it_begins() -> None:
    assert next(read(log(TWO), 5000)) == Gap(5000, 0)


def test_an_entry_that_nobody_can_read_is_a_gap_of_its_own_length() -> None:
    parts = list(read(log(ONE, b"\xc1 nonsense", TWO), 0))
    assert [type(part) for part in parts] == [Tick, Gap, Tick]
    assert parts[1] == Gap(len(ONE), len(ONE) + len(b"\xc1 nonsense"))


def test_later_fields_at_the_end_are_no_hindrance() -> None:
    later = msgspec.msgpack.encode([1.5, 7, [["forked", "run", "tree", "0.1", "", 0, "", "", 0.0, None, "new"]], "new"])
    [tick] = read(log(later), 0)
    assert isinstance(tick, Tick)
    assert tick.events[0].path == "0.1"

"""Lease ids as callers get them: of the store's line, and with tokens of the caller."""

import pytest

from treeroll.feed.seals import Seals


@pytest.mark.parametrize("key", [None, b"secret"])
def test_leases_of_another_line_are_not_known(key: bytes | None) -> None:
    lines = [Seals(key, line) for line in (0, 2, 12)]
    names = ["0.1.1.consumer", "0.1.1.2/consumer", "0.1.1.a/b"]
    for seals in lines:
        given = {seals.sealed("run", "group", name): name for name in names}
        for others in lines:
            assert others.opened("run", "group", given) == (given if others is seals else {})

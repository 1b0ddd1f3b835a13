"""Token accounts."""

import pytest

from treeroll.core.ledger import Ledger
from treeroll.errors import BrokenInvariant


def test_reserved_tokens_are_spent_or_returned() -> None:
    ledger = Ledger()
    ledger.reserve(100)
    ledger.settle(30)
    ledger.refund(70)
    assert (ledger.granted, ledger.spent, ledger.returned, ledger.outstanding) == (100, 30, 70, 0)
    assert ledger.balanced()


def test_spending_more_than_was_reserved_is_a_broken_promise() -> None:
    ledger = Ledger()
    ledger.reserve(10)
    with pytest.raises(BrokenInvariant, match="TokensConserved"):
        ledger.settle(11)


@pytest.mark.parametrize(("tokens", "fits"), [(60, True), (61, False)])
def test_a_reservation_must_fit_what_is_neither_spent_nor_set_aside(tokens: int, fits: bool) -> None:
    ledger = Ledger()
    ledger.reserve(40)
    ledger.settle(10)
    assert ledger.fits(tokens, budget=100) is fits
    assert ledger.fits(10**9, budget=None)

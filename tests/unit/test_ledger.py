"""Accounts: of what is used, and of how fast."""

import pytest

from treeroll.core.model.budget import Budget
from treeroll.core.model.ledger import Ledger
from treeroll.core.model.token_bucket import MILLION, Bucket
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
    ledger = Ledger(cap=100)
    ledger.reserve(40)
    ledger.settle(10)
    assert ledger.fits(tokens) is fits
    assert Ledger().fits(10**9)


def test_an_account_is_above_its_cap_by_what_engines_decoded_beyond_reservations_and_no_more() -> None:
    ledger = Ledger(cap=10)
    ledger.reserve(10)
    ledger.exceed(3)
    ledger.settle(13)
    assert ledger.balanced()
    assert ledger.room == -3
    ledger.reserve(1)
    assert not ledger.balanced()


def bucket(rate: int = 10, burst: int = 100) -> Bucket:
    made = Bucket.full(Budget(tokens_per_second=rate, burst_tokens=burst), 5.0)
    assert made is not None
    return made


def test_a_bucket_fills_with_time_up_to_its_burst() -> None:
    made = bucket()
    made.reserve(100)
    assert not made.fits(1)
    made.refill(7.05)
    assert made.room == 20
    assert (made.fits(20), made.fits(21)) == (True, False)
    made.refill(1e6)
    assert made.room == 100


def test_a_bucket_says_when_it_has_room_and_then_has_it() -> None:
    made = bucket(rate=7)
    made.reserve(100)
    for amount in (1, 33, 100):
        at = made.ready_at(amount)
        made.refill(at - 2e-6)
        assert not made.fits(amount)
        made.refill(at)
        assert made.fits(amount)


def test_time_that_goes_back_fills_no_bucket() -> None:
    made = bucket()
    made.reserve(50)
    made.refill(6.0)
    made.refill(5.5)
    made.refill(6.0)
    assert made.room == 60


def test_a_bucket_goes_on_with_what_it_had_and_with_the_time_that_it_was_away() -> None:
    made = bucket()
    made.restore(7 * MILLION, 20.0, 300, 22.0)
    made.refill(22.0)
    assert made.room == 27
    assert made.allows(327, 22.0)
    assert not made.allows(328, 22.0)


def test_a_bucket_does_not_wait_for_a_clock_that_was_put_back() -> None:
    made = bucket()
    made.restore(0, 3605.0, 300, 5.0)
    made.refill(6.0)
    assert made.room == 10
    assert made.allows(310, 6.0)
    assert not made.allows(311, 6.0)


def test_branches_that_outlive_a_process_owe_a_bucket_nothing_twice() -> None:
    """More may be reserved than the burst: time has filled the bucket since."""
    made = bucket()
    made.reserve(100)
    made.refill(11.0)
    made.reserve(60)
    with_reservations = made.level + 160 * MILLION
    made.restore(with_reservations, 11.0, 0, 9.0)
    made.reserve(160)
    made.refill(10.0)
    assert made.room == 10
    assert made.allows(170, 10.0)
    assert not made.allows(171, 10.0)
    made.restore(with_reservations, 11.0, 0, 9.0)  # and none of them goes on
    made.refill(9.0)
    assert made.room == 100


def test_what_was_reserved_in_a_time_that_a_clock_has_lost_is_owed_by_nobody() -> None:
    """Grants are not stored: a branch that goes on may have been granted after the level was."""
    made = bucket()
    made.restore(30 * MILLION, 3605.0, 0, 5.0)
    made.reserve(80)
    assert made.allows(80, 5.0)
    assert not made.allows(81, 5.0)
    made.refill(6.0)
    assert made.room == 10
    made.restore(30 * MILLION, 5.0, 0, 10.0)  # of a clock that goes on the time is known
    made.reserve(80)
    made.refill(10.0)
    assert made.room == 0
    assert made.allows(80, 10.0)
    assert not made.allows(81, 10.0)


def test_a_run_without_a_rate_has_no_bucket() -> None:
    assert Bucket.full(Budget(tokens=5), 0.0) is None

"""Which accounts are served, as the share of them grows and shrinks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.decisions import Result
from proxy.domain.delivery import Delivery, percentile

ACCOUNTS = st.text(max_size=64)
SHARES = st.floats(0, 100, allow_nan=False)


@given(ACCOUNTS, SHARES, SHARES)
def test_an_account_that_is_served_stays_so_as_the_share_grows(account: str, one: float, other: float) -> None:
    less, more = (Delivery(Result.SHADOW, share).instead(account) for share in sorted((one, other)))
    assert less is Result.SHADOW or more is None


@given(ACCOUNTS)
def test_of_none_and_of_all_is_meant_as_it_is_said(account: str) -> None:
    for others in (Result.SHADOW, Result.DELIVERY_OFF):
        assert Delivery(others, 0).instead(account) is others
        assert Delivery(others, 100).instead(account) is None
    assert Delivery(None).instead(account) is None


@pytest.mark.parametrize("share", [0.5, 1, 12.5, 50, 99])
def test_a_share_is_so_many_of_a_hundred(share: float) -> None:
    served = sum(Delivery(Result.SHADOW, share).instead(f"user-{n}") is None for n in range(20_000))
    expected = 20_000 * share / 100
    assert abs(served - expected) < 5 * (expected * (1 - share / 100)) ** 0.5


def test_another_relay_can_tell_who_is_whose() -> None:
    """The formula of docs/operations.md, in other words; a change of it moves accounts at the same share."""
    assert percentile("alice") == int("2bd806c97f0e00af", 16) / 2**64 * 100  # printf alice | sha256sum | head -c 16
    assert 0 <= percentile("") < 100

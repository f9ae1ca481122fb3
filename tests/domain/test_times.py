from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.times import from_ms, to_ms


@given(st.integers(0, 253_402_300_799_999))
def test_milliseconds_are_a_time_and_back(ms: int) -> None:
    assert to_ms(from_ms(ms)) == ms


def test_a_time_is_aware_utc_and_parts_of_a_millisecond_are_cut() -> None:
    assert from_ms(1_795_435_200_000) == datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert to_ms(datetime(2026, 11, 23, 12, 0, 0, 1999, tzinfo=UTC)) == 1_795_435_200_001
    assert to_ms(datetime.fromtimestamp(0, UTC) - timedelta(microseconds=1)) == -1


def test_a_year_too_far_is_told() -> None:
    with pytest.raises(OverflowError):
        from_ms(10**20)

"""Shards as an operator names them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.shard_names import named, shards_in


@pytest.mark.parametrize(
    ("text", "shards"), [("0", {0}), ("0-3", {0, 1, 2, 3}), ("0, 3,8-9", {0, 3, 8, 9}), ("7-7,1023", {7, 1023})]
)
def test_shards_are_named_by_number_or_by_the_first_and_the_last(text: str, shards: set[int]) -> None:
    assert shards_in(text) == shards


@pytest.mark.parametrize("text", ["-", "a", "3-1", "1024", "0,,1", "0-", "-1", "0-7-9"])
def test_what_names_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        shards_in(text)


@given(st.frozensets(st.integers(0, 1023), min_size=1))
def test_named_shards_are_read_as_they_were(shards: frozenset[int]) -> None:
    assert shards_in(named(shards)) == shards

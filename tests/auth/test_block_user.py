"""Disabling and enabling a user, also when it is cut off in the middle."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.auth.block_user import disable_user, enable_user, mend_blocks
from proxy.errors import StoreUnavailable
from tests.auth.members import NOON, Members

GONE = StoreUnavailable("the store does not answer")


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    made = Members(tmp_path)
    yield made
    made.accounts.close()


def state(members: Members) -> tuple[bool, bool]:
    """Is alice marked in the store, is she disabled in the database?"""
    return "alice" in members.marks.accounts, members.is_disabled("alice")


def disable(members: Members) -> bool:
    return disable_user("alice", members.accounts, members.marks, NOON)


def enable(members: Members) -> bool:
    return enable_user("alice", members.accounts, members.marks, NOON)


def mend(members: Members) -> int:
    return mend_blocks(members.accounts, members.marks, NOON)


def test_disabling_and_enabling_may_be_repeated(members: Members) -> None:
    for _ in range(2):
        assert disable(members)
        assert state(members) == (True, True)
    for _ in range(2):
        assert enable(members)
        assert state(members) == (False, False)
    assert not members.is_disabled("bob")


def test_an_unknown_account_is_neither_disabled_nor_marked(members: Members) -> None:
    assert not disable_user("carol", members.accounts, members.marks, NOON)
    assert not enable_user("carol", members.accounts, members.marks, NOON)
    assert members.marks.accounts == set()


def test_a_mark_alone_becomes_a_disabled_user(members: Members) -> None:
    members.marks.block("alice")  # as far as a command got that was killed
    assert mend(members) == 1
    assert state(members) == (True, True)
    assert mend(members) == 0


def test_a_store_that_lost_its_marks_gets_them_again(members: Members) -> None:
    disable(members)
    members.marks.accounts.clear()
    assert mend(members) == 1
    assert state(members) == (True, True)


def test_marks_of_foreign_accounts_are_left_alone(members: Members) -> None:
    members.marks.block("a user of another issuer")
    assert mend(members) == 0
    assert members.marks.accounts == {"a user of another issuer"}


def test_without_a_store_nothing_is_changed(members: Members) -> None:
    members.marks.failure = GONE
    with pytest.raises(StoreUnavailable):
        disable(members)
    members.marks.failure = None
    assert state(members) == (False, False)
    disable(members)
    for attempt in (enable, mend):
        members.marks.failure = GONE
        with pytest.raises(StoreUnavailable):
            attempt(members)
        members.marks.failure = None
        assert state(members) == (True, True)

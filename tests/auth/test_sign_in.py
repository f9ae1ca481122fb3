"""Signing in, staying signed in, signing out."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest
from argon2 import PasswordHasher

from proxy.auth.block_user import disable_user, enable_user
from proxy.auth.sign_in import SignedIn, change_password
from proxy.domain.devices import Device, Registered
from proxy.errors import NotSignedIn, StoreUnavailable
from tests.auth.members import NOON, PASSWORD, Members, MemoryMarks

LATER = NOON + timedelta(minutes=20)
WEAKER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
WRONG = "account or password is wrong"
USED = "the refresh token was used before; sign in again"


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    made = Members(tmp_path)
    yield made
    made.accounts.close()


@dataclass
class Removals:
    """Implements ports.DeviceRegistry, as far as signing out asks of it."""

    removed: list[tuple[str, str, str]] = field(default_factory=list)
    failure: StoreUnavailable | None = None

    def register(self, device: Device) -> Registered:
        raise AssertionError(device)

    def devices_of(self, app: str, account: str) -> list[Device]:
        raise AssertionError((app, account))

    def remove(self, app: str, account: str, device_id: str) -> bool:
        if self.failure:
            raise self.failure
        self.removed.append((app, account, device_id))
        return True


def sign_in(members: Members, account: str = "alice", password: str = PASSWORD) -> SignedIn:
    return members.sign_ins.sign_in(account, password, NOON)


def refresh(members: Members, signed_in: SignedIn) -> SignedIn:
    assert signed_in.refresh_token is not None
    return members.sign_ins.refresh(signed_in.refresh_token, LATER)


def refused(members: Members, signed_in: SignedIn) -> str:
    with pytest.raises(NotSignedIn) as error:
        refresh(members, signed_in)
    return error.value.message


def test_unknown_disabled_and_mistaken_users_get_one_answer(members: Members) -> None:
    disable_user("bob", members.accounts, members.marks, NOON)
    members.accounts.add("carol", members.passwords.hash(PASSWORD), NOON)
    members.marks.block("carol")  # her disabling has only begun
    told = []
    for account, password in (("alice", "incorrect"), ("bob", PASSWORD), ("carol", PASSWORD), ("nobody", PASSWORD)):
        with pytest.raises(NotSignedIn) as error:
            sign_in(members, account, password)
        told.append(error.value.message)
    assert told == [WRONG] * 4


def test_a_hash_of_other_parameters_is_renewed_at_the_next_sign_in(members: Members) -> None:
    with members.accounts.alone() as change:
        change.set_password("alice", WEAKER.hash(PASSWORD), NOON)
    with pytest.raises(NotSignedIn):
        sign_in(members, password="incorrect")
    sign_in(members)
    user = members.accounts.find("alice")
    assert user is not None
    assert not members.passwords.needs_rehash(user.password_hash)
    sign_in(members)


def test_each_refresh_gives_another_pair_of_the_same_session(members: Members) -> None:
    first = sign_in(members)
    second = refresh(members, first)
    third = refresh(members, second)
    assert {it.session.id for it in (first, second, third)} == {first.session.id}
    assert len({it.refresh_token for it in (first, second, third)}) == 3
    kept = members.accounts.live_session(first.session.id, LATER)
    assert kept is not None
    assert kept.expires_at == LATER + members.sign_ins.refresh_ttl


@pytest.mark.parametrize("times", [1, 3])
def test_a_refresh_token_that_was_used_before_ends_its_session_and_no_other(members: Members, times: int) -> None:
    first, elsewhere = sign_in(members), sign_in(members)
    last = first
    for _ in range(times):
        last = refresh(members, last)
    assert refused(members, first) == USED
    assert first.session.id in members.marks.sessions  # its access token is good for nothing either
    assert refused(members, last) == "sign in again"
    refresh(members, elsewhere)


def test_of_two_refreshes_at_once_one_gets_a_pair(members: Members) -> None:
    for _ in range(5):
        first = sign_in(members)
        with ThreadPoolExecutor(2) as threads:
            answers = [threads.submit(refresh, members, first) for _ in range(2)]
        assert [type(answer.exception()) for answer in answers].count(type(None)) == 1


def test_a_session_ends_by_itself(members: Members) -> None:
    first = sign_in(members)
    assert first.refresh_token is not None
    with pytest.raises(NotSignedIn, match="sign in again"):
        members.sign_ins.refresh(first.refresh_token, NOON + members.sign_ins.refresh_ttl)


def test_a_user_who_was_disabled_signs_in_anew(members: Members) -> None:
    first = sign_in(members)
    disable_user("alice", members.accounts, members.marks, NOON)
    assert refused(members, first) == "sign in again"
    enable_user("alice", members.accounts, members.marks, NOON)
    assert refused(members, first) == "sign in again"
    sign_in(members)


def test_a_mark_alone_keeps_a_session_from_being_refreshed(members: Members) -> None:
    first = sign_in(members)
    members.marks.block_session(first.session.id, timedelta(days=1))
    assert refused(members, first) == "sign in again"


def test_another_password_ends_the_sessions_of_the_former_one(members: Members) -> None:
    first = sign_in(members)
    assert change_password("alice", members.passwords.hash("battery staple"), members.sign_ins, NOON)
    assert refused(members, first) == "sign in again"
    assert set(members.marks.sessions) == {first.session.id}
    with pytest.raises(NotSignedIn):
        sign_in(members)
    sign_in(members, password="battery staple")
    assert not change_password("nobody", "hash", members.sign_ins, NOON)


def test_a_sign_in_that_is_under_way_while_the_password_changes_leaves_no_session(members: Members) -> None:
    first, begun = sign_in(members), list[SignedIn]()

    def sign_in_meanwhile() -> None:
        with suppress(NotSignedIn):
            begun.append(sign_in(members))

    class Marks(MemoryMarks):
        def block_session(self, session_id: str, life: timedelta) -> None:
            super().block_session(session_id, life)
            thread.start()
            thread.join(0.2)  # it may end here only where nothing keeps it waiting

    thread, marks = Thread(target=sign_in_meanwhile), Marks()
    changing = replace(members.sign_ins, blocks=marks)
    assert change_password("alice", members.passwords.hash("battery staple"), changing, NOON)
    thread.join()
    assert first.session.id in marks.sessions
    assert [it for it in begun if it.session.id not in marks.sessions] == []


@pytest.mark.parametrize(
    ("app", "named", "removed"),
    [
        (None, None, [("main", "alice", "phone"), ("other", "alice", "phone")]),
        ("other", None, [("other", "alice", "phone")]),
        ("other", "pad", [("other", "alice", "pad")]),
    ],
)
def test_signing_out_removes_the_sessions_device(
    members: Members, app: str | None, named: str | None, removed: list[tuple[str, str, str]]
) -> None:
    devices = Removals()
    signed_in = members.sign_ins.sign_in("alice", PASSWORD, NOON, device_id="phone", app=app)
    members.sign_ins.sign_out(
        "alice", signed_in.session.id, LATER, devices=devices, apps=["main", "other"], device_id=named
    )
    assert devices.removed == removed
    assert refused(members, signed_in) == "sign in again"


def test_a_mark_outlives_whatever_its_session_could_show(members: Members) -> None:
    signed_in = sign_in(members)
    members.sign_ins.sign_out("alice", signed_in.session.id, LATER, devices=Removals(), apps=[])
    life = members.marks.sessions[signed_in.session.id]
    assert life > members.sign_ins.refresh_ttl + members.sign_ins.access_ttl


def test_signing_out_can_be_repeated_when_the_store_was_away(members: Members) -> None:
    signed_in = members.sign_ins.sign_in("alice", PASSWORD, NOON, device_id="phone")
    devices = Removals(failure=StoreUnavailable("the store does not answer"))
    with pytest.raises(StoreUnavailable):
        members.sign_ins.sign_out("alice", signed_in.session.id, LATER, devices=devices, apps=["main"])
    assert members.marks.sessions == {}
    assert members.accounts.live_session(signed_in.session.id, LATER) is not None


def test_while_blocks_cannot_be_looked_up_no_user_signs_in_or_refreshes(members: Members) -> None:
    signed_in = sign_in(members)
    members.marks.failure = StoreUnavailable("the store does not answer")
    with pytest.raises(StoreUnavailable):
        sign_in(members)
    with pytest.raises(StoreUnavailable):
        refresh(members, signed_in)
    members.marks.failure = None
    refresh(members, signed_in)  # nothing was used up

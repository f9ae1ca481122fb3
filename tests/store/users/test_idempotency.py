"""A call is made once, wherever the process or the store ends in the middle."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from proxy.domain.idempotency import (
    KEPT_FOR,
    Answered,
    Begun,
    Call,
    Different,
    MayHaveBeenSent,
    Running,
    call_of,
)
from proxy.domain.times import MS
from proxy.domain.transfers import FailureKind, Paused, Prevented, Response, TransportFailure
from proxy.errors import NotAllowed, StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.scripts import script
from proxy.store.users.idempotency import RedisIdempotency
from proxy.usecases.call_once import call_once
from tests.store.samples import NOON, SECOND, raw

LEASE = 3 * SECOND
ANSWER = Answered(200, {"content-type": "application/json"}, b'{"code":200}\xff\x00')
SENT = Response(200, {"content-type": "application/json"}, b'{"code":200}\xff\x00')


@pytest.fixture
def book(store: Store) -> RedisIdempotency:
    return RedisIdempotency(store)


def call(app_id: str, content: bytes = b"hello") -> Call:
    return call_of("k1", f"user {app_id}", "POST", "/api/push/p2p", "main", content)


def begun(book: RedisIdempotency, app_id: str) -> Begun:
    found = book.begin(call(app_id), NOON, LEASE)
    assert isinstance(found, Begun)
    return found


def test_the_first_answer_is_given_again_byte_for_byte_for_a_day(
    book: RedisIdempotency, store: Store, app_id: str
) -> None:
    assert book.end(begun(book, app_id), ANSWER)
    assert book.begin(call(app_id), NOON + KEPT_FOR - SECOND, LEASE) == ANSWER
    left_ms = raw(store, "PTTL", keys.idempotency(call(app_id).name))
    assert KEPT_FOR - 60 * SECOND < left_ms * MS <= KEPT_FOR


def test_a_call_under_way_is_running_and_another_content_is_different_at_any_time(
    book: RedisIdempotency, app_id: str
) -> None:
    other = call(app_id, b"hallo")
    it = begun(book, app_id)
    assert book.begin(call(app_id), NOON + SECOND, LEASE) == Running(2000)
    assert book.begin(other, NOON, LEASE) == Different()
    book.end(it, ANSWER)
    assert book.begin(other, NOON, LEASE) == Different()


def test_an_answer_too_long_to_keep_leaves_its_status(book: RedisIdempotency, app_id: str) -> None:
    book.end(begun(book, app_id), Answered(200, {}, None))
    assert book.begin(call(app_id), NOON, LEASE) == Answered(200, {}, None)


def test_beyond_what_is_kept_of_a_caller_answers_leave_their_status_until_a_day_later(
    store: Store, app_id: str
) -> None:
    book, twelve = RedisIdempotency(store, most_kept=30), Answered(200, {}, b"twelve bytes")

    def repeated(key: str, now: datetime, who: str = "user ann") -> object:
        one = call_of(key, f"{who} of {app_id}", "POST", "/", "main", b"")
        first = book.begin(one, now, LEASE)
        assert isinstance(first, Begun)
        assert book.end(first, twelve)
        return book.begin(one, now, LEASE)

    assert [repeated(key, NOON) for key in "abc"] == [twelve, twelve, replace(twelve, body=None)]
    assert repeated("a", NOON, "key ab12") == twelve
    assert repeated("d", NOON + 2 * KEPT_FOR) == twelve


def test_what_never_left_frees_the_key(book: RedisIdempotency, store: Store, app_id: str) -> None:
    assert book.abandon(begun(book, app_id))
    assert raw(store, "EXISTS", keys.idempotency(call(app_id).name)) == 0
    assert book.end(begun(book, app_id), ANSWER)


def test_of_many_at_once_one_is_begun(book: RedisIdempotency, app_id: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: book.begin(call(app_id), NOON, LEASE), range(20)))
    assert [type(it) for it in found].count(Begun) == 1
    assert [type(it) for it in found].count(Running) == 19


def test_a_late_end_of_another_owner_changes_nothing(book: RedisIdempotency, app_id: str) -> None:
    it = begun(book, app_id)
    stranger = Begun(call(app_id), "another", it.began_ms)
    assert [book.end(stranger, ANSWER), book.abandon(stranger), book.cut_off(stranger)] == [False] * 3
    assert book.end(it, ANSWER)
    assert [book.end(it, Answered(500, {}, b"")), book.abandon(it), book.cut_off(it)] == [False] * 3
    assert book.begin(call(app_id), NOON, LEASE) == ANSWER


# where a process can end


def test_a_process_that_ended_after_the_mark_leaves_a_call_that_may_have_been_sent(
    book: RedisIdempotency, app_id: str
) -> None:
    """Before the call left, while it was under way, or before its answer was written: nobody can tell."""
    begun(book, app_id)
    assert book.begin(call(app_id), NOON + LEASE - MS, LEASE) == Running(1)
    for later in (LEASE, timedelta(hours=23)):
        assert book.begin(call(app_id), NOON + later, LEASE) == MayHaveBeenSent()


def test_an_answer_that_is_written_after_the_lease_is_the_first_answer_all_the_same(
    book: RedisIdempotency, app_id: str
) -> None:
    it = begun(book, app_id)
    assert book.begin(call(app_id), NOON + LEASE, LEASE) == MayHaveBeenSent()
    assert book.end(it, ANSWER)
    assert book.begin(call(app_id), NOON + LEASE, LEASE) == ANSWER


def test_a_mark_whose_confirmation_was_lost_is_its_own_when_the_store_is_asked_again(store: Store, app_id: str) -> None:
    """The connection broke after the script was carried out: a Store sends the same once more."""
    name, done = [keys.idempotency(call(app_id).name)], script("begin_call")

    def asked(owner: str) -> list[bytes]:
        found: list[bytes] = store.call(lambda redis: done.run(redis, name, [b"x", owner, 1000, 4000, 60_000]))
        return found

    assert [asked("one"), asked("one"), asked("two")] == [[b"begun"], [b"begun"], [b"running", b"3000"]]


def test_without_a_store_nothing_may_leave(app_id: str) -> None:
    away = RedisIdempotency(Store("redis://127.0.0.1:1/0"))
    with pytest.raises(StoreUnavailable):
        call_once(away, call(app_id), NOON, LEASE, lambda: pytest.fail("it left"))


def test_where_too_few_replicas_have_the_mark_nothing_may_leave_and_the_key_is_free(
    store: Store, book: RedisIdempotency, store_url: str, app_id: str
) -> None:
    with pytest.raises(StoreUnavailable, match="too few"):
        RedisIdempotency(Store(store_url, timeout_s=0.5), replicas=1).begin(call(app_id), NOON, LEASE)
    assert raw(store, "EXISTS", keys.idempotency(call(app_id).name)) == 0
    assert begun(book, app_id)


def test_a_store_that_went_away_meanwhile_leaves_a_call_that_may_have_been_sent(
    book: RedisIdempotency, app_id: str
) -> None:
    """The caller has the answer all the same."""
    away = RedisIdempotency(Store("redis://127.0.0.1:1/0"))
    assert not away.end(begun(book, app_id), ANSWER)
    assert book.begin(call(app_id), NOON + LEASE, LEASE) == MayHaveBeenSent()


# how a call ends


@pytest.mark.parametrize(
    ("ended", "then"),
    [
        (SENT, ANSWER),
        (Response(500, {}, b"no"), Answered(500, {}, b"no")),
        (TransportFailure("timed out", FailureKind.TIMED_OUT), MayHaveBeenSent()),
        (TransportFailure("broken", FailureKind.BROKEN), MayHaveBeenSent()),
        (TransportFailure("echo", FailureKind.WITHHELD), MayHaveBeenSent()),
        (TransportFailure("unreachable", FailureKind.UNREACHABLE), "made again"),
        (TransportFailure("no place", FailureKind.NOT_SENT), "made again"),
        (Prevented(200, {}, b'{"code":500}'), "made again"),
        (Paused(3.0), "made again"),
    ],
)
def test_how_the_first_call_ended_decides_what_the_same_again_gets(
    book: RedisIdempotency, app_id: str, ended: Response | TransportFailure | Paused, then: object
) -> None:
    assert call_once(book, call(app_id), NOON, LEASE, lambda: ended) == ended
    again = call_once(book, call(app_id), NOON, LEASE, lambda: SENT)
    assert again == (SENT if then == "made again" else then)


def test_a_fault_of_ours_while_it_was_under_way_is_a_call_that_may_have_been_sent(
    book: RedisIdempotency, app_id: str
) -> None:
    def fails() -> Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call_once(book, call(app_id), NOON, LEASE, fails)
    assert call_once(book, call(app_id), NOON, LEASE, lambda: SENT) == MayHaveBeenSent()


def test_a_refusal_of_ours_frees_the_key(book: RedisIdempotency, app_id: str) -> None:
    def refuses() -> Response:
        raise NotAllowed("too often")

    with pytest.raises(NotAllowed):
        call_once(book, call(app_id), NOON, LEASE, refuses)
    assert call_once(book, call(app_id), NOON, LEASE, lambda: SENT) == SENT


def test_a_call_is_marked_before_it_leaves(book: RedisIdempotency, app_id: str) -> None:
    seen: list[object] = []
    done = threading.Event()

    def make() -> Response:
        seen.append(book.begin(call(app_id), NOON, LEASE))
        done.set()
        return SENT

    call_once(book, call(app_id), NOON, LEASE, make)
    assert done.is_set()
    assert seen == [Running(3000)]

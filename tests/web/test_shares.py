"""Whose threads answer what, and what becomes of what no thread takes."""

import threading
from collections.abc import Sequence
from queue import SimpleQueue

import pytest
from werkzeug.routing import Rule

from proxy.mimc.calls import Family, folders_of
from proxy.mimc.wire import MAX_BODY
from proxy.web.body import MAX_JSON
from proxy.web.callers import Caller, guard_of
from proxy.web.shares import OPERATORS_PATHS, Pool, Share, longest_body, share_of
from tests.web.world import World, app_section, settings


@pytest.mark.parametrize(
    ("path", "share"),
    [
        ("/callbacks/mimc/x", Share.CALLBACKS), ("/callbacks%2Fmimc/x", Share.CALLBACKS),
        ("/auth/login", Share.SIGN_INS), ("/auth/l%6Fgin", Share.SIGN_INS), ("/%61uth%2flogin", Share.SIGN_INS),
        ("/auth/login/", Share.CALLS), ("/auth/refresh", Share.CALLS), ("/api/account/token", Share.CALLS),
        ("/healthz", Share.OPERATOR), ("/%72eadyz", Share.OPERATOR), ("/", Share.CALLS), ("", Share.CALLS),
        ("*", Share.CALLS), ("/%ff", Share.CALLS),
    ],
)  # fmt: skip
def test_a_path_is_known_however_it_is_spelled(path: str, share: Share) -> None:
    assert share_of("POST", path, on_operator=False) is share
    assert share_of("POST", path, on_operator=True) is Share.OPERATOR


FOLDERS = folders_of(Family)


@pytest.mark.parametrize(
    ("path", "share"),
    [
        ("/api/push/p2p/", Share.MIMC_API), ("/api/%70ush/p2p", Share.MIMC_API),
        ("//api/uctopic/topics", Share.MIMC_API),
        ("/api/topic/77/21351198708203520/accounts", Share.MIMC_API), ("/api/account/status", Share.MIMC_API),
        ("/api/account/token", Share.CALLS), ("/api/devices", Share.CALLS), ("//callbacks/mimc/x", Share.CALLBACKS),
    ],
)  # fmt: skip
def test_mimcs_own_calls_have_threads_of_their_own_where_they_are_open(path: str, share: Share) -> None:
    assert share_of("POST", path, on_operator=False, mimc_api=FOLDERS) is share
    closed = Share.CALLS if share is Share.MIMC_API else share
    assert share_of("POST", path, on_operator=False, mimc_api=folders_of(())) is closed


def test_what_a_browser_asks_before_a_sign_in_needs_no_thread_of_theirs() -> None:
    assert share_of("OPTIONS", "/auth/login", on_operator=False) is Share.CALLS


def test_a_service_below_a_path_of_its_host_has_the_same_shares() -> None:
    assert share_of("POST", "/chat/callbacks/mimc/x", on_operator=False, prefix="/chat") is Share.CALLBACKS


def test_every_route_is_in_the_share_of_its_callers() -> None:
    app = World(settings({"main": app_section(api=list(Family))})).app
    for rule in app.url_map.iter_rules():
        guard = guard_of(app.view_functions[rule.endpoint])
        assert guard is not None
        share = share_of("POST", path_of(rule), on_operator=False, mimc_api=FOLDERS)
        assert rule.endpoint.startswith("api_calls.") is (share is Share.MIMC_API), rule
        assert (guard.caller is Caller.SENDER) is (share is Share.CALLBACKS), rule
        assert (guard.caller in {Caller.OPERATOR, Caller.BALANCER}) is (share is Share.OPERATOR), rule
    assert all(share_of("POST", path, on_operator=False) is Share.OPERATOR for path in OPERATORS_PATHS)


@pytest.mark.parametrize("path", sorted(OPERATORS_PATHS))
def test_strangers_on_another_listener_take_no_thread_of_the_operator(path: str) -> None:
    assert share_of("GET", path, on_operator=False, is_only=False) is Share.CALLS
    assert share_of("GET", path, on_operator=True, is_only=False) is Share.OPERATOR


def path_of(rule: Rule) -> str:
    built = rule.build(dict.fromkeys(rule.arguments, "x"))
    assert built is not None
    return built[1]


def test_only_callbacks_may_be_long() -> None:
    assert {share: longest_body(share) for share in Share} == dict.fromkeys(Share, MAX_JSON) | {
        Share.CALLBACKS: MAX_BODY
    }


def test_what_no_thread_takes_in_time_is_given_back_once_and_never_worked_on() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), list[int]()

    def work(items: Sequence[int]) -> None:
        done.extend(items)
        begun.set()
        go_on.wait(10)

    pool: Pool[int] = Pool("test", 1, 5.0, work)
    pool.put(1, now=0.0)
    assert begun.wait(10)
    pool.put(2, now=0.0)
    pool.put(3, now=3.0)
    assert pool.next_overdue() == 5.0
    assert list(pool.take_overdue(4.9)) == []
    assert list(pool.take_overdue(5.0)) == [2]
    assert list(pool.take_overdue(5.0)) == []
    begun.clear()
    go_on.set()
    assert begun.wait(10)
    assert done == [1, 3]
    assert pool.next_overdue() is None


def test_what_waits_for_a_thread_is_worked_on_together_up_to_a_limit() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), SimpleQueue[list[int]]()

    def work(items: Sequence[int]) -> None:
        begun.set()
        go_on.wait(10)
        done.put(list(items))

    pool: Pool[int] = Pool("test", 1, 5.0, work, together=3)
    pool.put(0, now=0.0)
    assert begun.wait(10)
    for number in range(1, 7):
        pool.put(number, now=float(number > 1))
    assert list(pool.take_overdue(5.0)) == [1]
    go_on.set()
    assert [done.get(timeout=10) for _ in range(3)] == [[0], [2, 3, 4], [5, 6]]


@pytest.mark.parametrize(("threads", "together"), [(1, 1), (4, 1), (4, 8)])
def test_no_thread_sleeps_while_something_waits_for_it(threads: int, together: int) -> None:
    done = SimpleQueue[int]()

    def work(items: Sequence[int]) -> None:
        for item in items:
            done.put(item)

    pool: Pool[int] = Pool("test", threads, 1000.0, work, together)
    for number in range(300):  # one by one, so that all sleep in between
        pool.put(number, now=0.0)
        assert done.get(timeout=10) == number
    for number in range(3000):
        pool.put(number, now=0.0)
    assert sorted(done.get(timeout=10) for _ in range(3000)) == list(range(3000))
    assert done.empty()


def test_what_waits_is_worked_on_by_as_many_threads_as_there_are() -> None:
    together, done = threading.Barrier(3), threading.Semaphore(0)

    def work(_items: Sequence[int]) -> None:
        together.wait(10)  # none goes on before three have come
        done.release()

    pool: Pool[int] = Pool("test", 3, 5.0, work)
    for number in range(3):
        pool.put(number, now=0.0)
    assert all(done.acquire(timeout=10) for _ in range(3))

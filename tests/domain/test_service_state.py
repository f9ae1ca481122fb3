"""A service that gives no answers is left alone, and asked again by one call at a time."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.service_state import BreakerRules, ServiceState

RULES = BreakerRules(failures=3, pause_s=1.0, pause_max_s=4.0, probe_s=2.0)


def failed(state: ServiceState, caller: str, now: float = 0.0, *, was_probe: bool = False) -> ServiceState:
    return state.after_failure(caller, was_probe=was_probe, now=now, rules=RULES)


def paused(now: float = 0.0) -> ServiceState:
    state = ServiceState()
    for caller in ("ann", "ben", "cai"):
        state = failed(state, caller, now)
    return state


def test_failures_of_so_many_callers_in_a_row_pause_it() -> None:
    state = failed(failed(ServiceState(), "ann"), "ben")
    assert state.wait_s(0.0) == 0
    assert failed(state, "cai", 10.0).wait_s(10.25) == 0.75


def test_one_caller_alone_pauses_nothing() -> None:
    state = ServiceState()
    for _ in range(9):
        state = failed(state, "ann")
    assert state.wait_s(0.0) == 0


def test_an_answer_starts_the_count_anew() -> None:
    state = failed(failed(ServiceState(), "ann"), "ben").after_answer()
    assert failed(state, "cai").wait_s(0.0) == 0


def test_after_the_pause_one_call_goes_out_and_the_others_wait_for_it() -> None:
    state = paused()
    assert state.wait_s(1.0) == 0
    probing = state.asked(1.0, RULES)
    assert probing.wait_s(1.0) == 2.0
    assert probing.wait_s(3.0) == 0  # it never came back: the next one tries


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    state, now, waits = paused(), 1.0, []
    for _ in range(4):
        state = failed(state.asked(now, RULES), "dan", now, was_probe=True)
        waits.append(state.wait_s(now))
        now += waits[-1]
    assert waits == [2.0, 4.0, 4.0, 4.0]


def test_a_call_that_left_before_the_pause_and_fails_in_it_makes_it_no_longer() -> None:
    assert failed(paused(), "dan", 0.5) == paused()


def test_any_answer_ends_the_pause() -> None:
    assert paused().after_answer() == ServiceState()


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from("abcd"), st.booleans())))
def test_whatever_happens_nobody_waits_longer_than_the_longest_pause(
    events: list[tuple[float, str, bool]],
) -> None:
    state, now = ServiceState(), 0.0
    for later, caller, answers in events:
        now += later
        assert state.wait_s(now) <= RULES.pause_max_s
        if not state.wait_s(now):
            was_probe = state.paused_s > 0
            state = state.asked(now, RULES)
            state = state.after_answer() if answers else failed(state, caller, now, was_probe=was_probe)

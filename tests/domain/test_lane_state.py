"""When a lane is paused, when it is open again, and how it goes on afterwards."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.domain.lane_state import LaneState
from proxy.domain.lanes import Pause, StoredLane

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LIMIT = 3
NOW = 100.0
OPEN = LaneState(learned_at=NOW - 10)
PAUSED = LaneState(is_paused=True, learned_at=NOW - 10)
RAMPING = LaneState(resumed_at=NOW - 2, learned_at=NOW - 2)
FAILING = LaneState(failed=frozenset({"job-1", "job-2"}), learned_at=NOW - 10)
STORE_PAUSED = StoredLane(Pause("http 503", NOON))
STORE_OPEN = StoredLane()
STORE_RESUMED = StoredLane(resumed=timedelta(seconds=3))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OPEN.after_answer(), OPEN),
        (FAILING.after_answer(), OPEN),
        (PAUSED.after_answer(), PAUSED),  # only a probe opens it, whatever else is answered meanwhile
        (OPEN.after_failure("job-1", LIMIT, NOW), LaneState(failed=frozenset({"job-1"}), learned_at=NOW - 10)),
        (FAILING.after_failure("job-2", LIMIT, NOW), FAILING),
        (FAILING.after_failure("job-3", LIMIT, NOW), LaneState(is_paused=True, learned_at=NOW)),
        (PAUSED.after_failure("job-1", 1, NOW), PAUSED),
        (OPEN.paused(NOW), LaneState(is_paused=True, learned_at=NOW)),
        (FAILING.paused(NOW), LaneState(is_paused=True, learned_at=NOW)),
        (PAUSED.resumed(NOW), LaneState(resumed_at=NOW, learned_at=NOW)),
        (OPEN.observed(STORE_PAUSED, NOW), PAUSED),
        (FAILING.observed(STORE_PAUSED, NOW), PAUSED),
        (PAUSED.observed(STORE_PAUSED, NOW), PAUSED),
        (OPEN.observed(STORE_OPEN, NOW), OPEN),
        (FAILING.observed(STORE_OPEN, NOW), FAILING),
        (RAMPING.observed(STORE_OPEN, NOW), RAMPING),
        (PAUSED.observed(STORE_RESUMED, NOW), LaneState(resumed_at=NOW - 3, learned_at=NOW - 10)),
        (OPEN.observed(STORE_RESUMED, NOW), LaneState(resumed_at=NOW - 3, learned_at=NOW - 10)),  # we missed its pause
        (PAUSED.observed(STORE_OPEN, NOW), LaneState(resumed_at=NOW, learned_at=NOW - 10)),
    ],
)
def test_each_event_has_its_next_state(before: LaneState, after: LaneState) -> None:
    assert before == after


@pytest.mark.parametrize("learned", [OPEN.paused(NOW), PAUSED.resumed(NOW), FAILING.after_failure("job-3", LIMIT, NOW)])
@pytest.mark.parametrize("stored", [STORE_PAUSED, STORE_OPEN, STORE_RESUMED])
def test_what_the_store_was_asked_before_this_worker_learned_better_does_not_count(
    learned: LaneState, stored: StoredLane
) -> None:
    assert learned.observed(stored, NOW - 0.001) == learned


def test_failures_in_a_row_of_different_jobs_pause_the_lane() -> None:
    state, seen = LaneState(), []
    for n in range(4):
        state = state.after_failure(f"job-{n}", LIMIT, NOW)
        seen.append(state.is_paused)
    assert seen == [False, False, True, True]


def test_one_job_that_fails_each_time_pauses_no_others() -> None:
    state = LaneState()
    for _ in range(100):
        state = state.after_failure("job-1", 2, NOW)
    assert not state.is_paused


def test_any_other_answer_starts_the_count_anew() -> None:
    state = LaneState()
    for n in range(10):
        state = state.after_failure(f"job-{n}", LIMIT, NOW).after_failure(f"job-{n}-too", LIMIT, NOW).after_answer()
    assert not state.is_paused


def test_a_lane_that_was_paused_for_another_reason_counts_from_nought_when_it_goes_on() -> None:
    state = FAILING.paused(NOW).after_failure("job-3", LIMIT, NOW).resumed(NOW)
    state = state.after_failure("job-4", LIMIT, NOW).after_failure("job-5", LIMIT, NOW)
    assert not state.is_paused
    assert state.after_failure("job-6", LIMIT, NOW).is_paused


@pytest.mark.parametrize(
    ("most", "since_s", "limit"),
    [(500, -1, 4), (500, 0, 4), (500, 0.5, 5), (500, 1, 8), (500, 3, 32), (500, 6.9, 477), (500, 7, 500),
     (500, 10**9, 500), (5000, 10.3, 5000), (1, 0, 1), (3, 0, 3)],
)  # fmt: skip
def test_a_lane_that_goes_on_begins_with_a_few_and_doubles_each_second(most: int, since_s: float, limit: int) -> None:
    assert LaneState().resumed(NOW).in_flight(most, NOW + since_s) == limit


def test_a_lane_that_was_never_paused_has_its_full_number_in_flight_at_once() -> None:
    assert LaneState().in_flight(500, NOW) == 500


class LaneAndStore(RuleBasedStateMachine):
    """One worker's view of a lane beside a store whose answers come late and in any order.

    The truth about what this worker learned itself is kept beside it: (when, is it paused).
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.state = LaneState(learned_at=NOW)
        self.learned_at, self.learned_paused = NOW, False
        self.in_a_row: set[str] = set()
        self.asked: list[float] = []
        self.overruled = False  # an answer to a question asked since then counted

    @rule(seconds=st.floats(0.001, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def this_worker_asks_the_store(self) -> None:
        self.asked.append(self.now)

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0), stored=st.sampled_from([STORE_PAUSED, STORE_OPEN, STORE_RESUMED]))
    def the_store_answers_one_of_the_questions(self, which: int, stored: StoredLane) -> None:
        asked_at = self.asked.pop(which % len(self.asked))
        before = self.state
        self.state = before.observed(stored, asked_at)
        if asked_at < self.learned_at:
            assert self.state == before
            return
        self.overruled = True
        assert self.state.is_paused is (stored.pause is not None)
        if stored.pause is not None:
            self.in_a_row.clear()

    @rule(job=st.sampled_from(["job-1", "job-2", "job-3", "job-4"]))
    def a_request_fails(self, job: str) -> None:
        was_paused = self.state.is_paused
        self.state = self.state.after_failure(job, LIMIT, self.now)
        if was_paused:
            assert self.state.is_paused
            return
        self.in_a_row.add(job)
        assert self.state.is_paused is (len(self.in_a_row) >= LIMIT)
        if self.state.is_paused:
            self._learn(is_paused=True)

    @rule()
    def the_provider_answers(self) -> None:
        was_paused = self.state.is_paused
        self.state = self.state.after_answer()
        assert self.state.is_paused is was_paused
        self.in_a_row.clear()

    @rule()
    def an_answer_pauses(self) -> None:
        self.state = self.state.paused(self.now)
        self._learn(is_paused=True)

    @precondition(lambda self: self.state.is_paused)
    @rule()
    def a_probe_gets_through(self) -> None:
        self.state = self.state.resumed(self.now)
        self._learn(is_paused=False)

    def _learn(self, *, is_paused: bool) -> None:
        self.learned_at, self.learned_paused, self.overruled = self.now, is_paused, False
        self.in_a_row.clear()

    @invariant()
    def what_was_learned_last_holds_until_a_later_question_is_answered(self) -> None:
        if not self.overruled:
            assert self.state.is_paused is self.learned_paused

    @invariant()
    def something_may_always_be_in_flight_and_never_more_than_is_set(self) -> None:
        assert 1 <= self.state.in_flight(500, self.now) <= 500

    @invariant()
    def a_paused_lane_counts_no_failures(self) -> None:
        assert not (self.state.is_paused and self.state.failed)


test_an_answer_to_an_older_question_never_undoes_what_was_learned_later = LaneAndStore.TestCase

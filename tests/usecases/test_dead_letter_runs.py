"""A run over many dead letters, step by step."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from proxy.domain.dead_letters import DeadLetter
from proxy.usecases.dead_letter_runs import Deed, Step, take_step
from tests.store.samples import MS, NOON, SECOND
from tests.usecases.test_replay_dead_letter import JOB, RULES, Letters, letter

NOW = NOON + 2 * SECOND


def letters_at(*times: datetime) -> list[DeadLetter]:
    return [replace(letter(), id=f"{number}-0", at=at) for number, at in enumerate(times)]


def steps(found: Sequence[DeadLetter], most: int) -> list[Step]:
    """Until nothing is left, each from where the one before says."""
    letters, taken, begin = Letters(JOB), list[Step](), NOON
    while not taken or taken[-1].next_from:
        begin = taken[-1].next_from or begin if taken else begin
        rest = [it for it in found if it.at >= begin]
        taken.append(take_step(Deed.REPLAY, rest, most, letters, RULES, NOW))
    return taken


def test_each_letter_is_taken_once_however_many_died_in_one_moment() -> None:
    found = letters_at(*[NOON] * 5, *[NOON + MS] * 2, *(NOON + it * SECOND for it in range(1, 5)))
    taken = steps(found, 3)
    assert [it.done for it in taken] == [5, 3, 3]  # never a part of a millisecond
    assert [it.next_from for it in taken] == [NOON + MS, NOON + 2 * SECOND, None]


def test_a_step_ends_also_where_few_are_meant() -> None:
    found = letters_at(*(NOON + it * MS for it in range(5_002)))
    step = take_step(Deed.REPLAY, found, 10, Letters(JOB), RULES, NOW, lambda it: it.at in (NOON, NOON + 5_001 * MS))
    assert (step.done, step.next_from) == (1, NOON + 5_000 * MS)


def test_a_run_over_nothing_ends_at_once() -> None:
    assert steps([], 10) == [Step()]


@pytest.mark.parametrize(
    ("deed", "done", "put"), [(Deed.TRY, 2, 0), (Deed.REPLAY, 2, 2), (Deed.DROP, 2, 0)]
)  # a dry run changes nothing
def test_what_is_done_is_counted(deed: Deed, done: int, put: int) -> None:
    letters = Letters(JOB)
    step = take_step(deed, letters_at(NOON, NOON + MS), 10, letters, RULES, NOW)
    assert (step, len(letters.put)) == (Step(done), put)


@pytest.mark.parametrize("deed", [Deed.REPLAY, Deed.DROP])
def test_what_another_operator_took_first_is_gone(deed: Deed) -> None:
    letters = Letters(None, is_there=False)
    assert take_step(deed, letters_at(NOON), 10, letters, RULES, NOW) == Step(gone=1)


def test_what_cannot_be_replayed_is_counted_by_its_reason() -> None:
    step = take_step(Deed.REPLAY, letters_at(NOON, NOON + timedelta(days=1)), 10, Letters(None), RULES, NOW)
    assert step == Step(
        refused=Counter({"its words are gone; without them it would say no more than that there is a message": 2})
    )

"""Many dead letters tried, put back or dropped in steps, each short enough for a request of the console.

Nothing is kept of a run: what it has done so far, and where it goes on, is in the page that asks for its next
step. Letters that arrive after its beginning are none of it, those that died again among them.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from proxy.domain.dead_letters import DeadLetter
from proxy.ports import DeadLetters
from proxy.usecases.replay_dead_letter import NotReplayable, Replay, ReplayRules, prepare, replay_dead_letter

_LOOKED_AT = 5_000  # letters in a step at most, for half a second: few of them may be meant


class Deed(StrEnum):
    """What a run does with each letter."""

    TRY = "try"  # say what a replay would do
    REPLAY = "replay"
    DROP = "drop"


@dataclass(frozen=True)
class Step:
    """`refused` counts by reason; `gone`: another had put them back or dropped them. `next_from`: the time of the
    oldest letter that is left, None: there is none.
    """

    done: int = 0
    gone: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    next_from: datetime | None = None


def take_step(
    deed: Deed,
    oldest_first: Iterable[DeadLetter],
    most: int,
    letters: DeadLetters,
    rules: ReplayRules,
    now: datetime,
    is_meant: Callable[[DeadLetter], bool] = lambda _: True,
) -> Step:
    """Do it with the first `most` that are meant, and with all others of the same millisecond, for a run goes on by
    time. Where few are meant, it ends before it has found as many.
    """
    batch, next_from = _batch(oldest_first, most, is_meant)
    outcomes = [_do(deed, letter, letters, rules, now) for letter in batch]
    refused = Counter(it.reason for it in outcomes if isinstance(it, NotReplayable))
    gone = outcomes.count(None)
    return Step(len(outcomes) - gone - refused.total(), gone, refused, next_from)


def _batch(
    letters: Iterable[DeadLetter], most: int, is_meant: Callable[[DeadLetter], bool]
) -> tuple[list[DeadLetter], datetime | None]:
    found, at = list[DeadLetter](), None
    for number, letter in enumerate(letters):
        if (len(found) >= most or number >= _LOOKED_AT) and letter.at != at:
            return found, letter.at
        at = letter.at
        if is_meant(letter):
            found.append(letter)
    return found, None


def _do(
    deed: Deed, letter: DeadLetter, letters: DeadLetters, rules: ReplayRules, now: datetime
) -> Replay | NotReplayable | bool | None:
    match deed:
        case Deed.TRY:
            return prepare(letter, letters, rules, now)
        case Deed.REPLAY:
            return replay_dead_letter(letter, letters, rules, now)
        case Deed.DROP:
            return letters.drop(letter) or None
        case _:
            assert_never(deed)

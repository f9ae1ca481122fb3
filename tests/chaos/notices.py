"""READs and RECALLs: which messages their readers read, which their writers take back, drawn from the seed.

As MIMC posts them: most at once, to whoever is online (NORMAL_*), some for those who are not.
"""

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.chaos.messages import Announcement, Message, draw_messages
from tests.chaos.people import People
from tests.chaos.size import Size

READ, RECALL = "read", "recall"
_READ_SHARE, _RECALL_SHARE = 0.2, 0.12  # of the messages
_BY_ANOTHER_SHARE, _TWICE_SHARE, _EARLY_SHARE = 0.25, 0.2, 0.15  # of the recalls
_EARLY_S = 0.4  # so long before its message a recall may come
_MOST_READERS = 3  # of a group's message
_OFFLINE_SHARE = 0.2


@dataclass(frozen=True)
class Notice:
    """`by` has read the message, or takes it back: which does something only where they wrote it.

    `number` is different for each of a run.
    """

    at_s: float
    number: int
    why: str
    by: str
    message: Message
    announcement: Announcement


def draw_all(seed: int, size: Size, people: Sequence[People]) -> Iterator[Message | Notice]:
    """In the order in which they are written."""
    dice = random.Random(f"notices {seed}")
    waiting = list[tuple[float, int, Notice]]()
    number = 0
    for drawn in draw_messages(seed, size, people):
        while waiting and waiting[0][0] <= drawn.at_s:
            yield heapq.heappop(waiting)[2]
        message, about = _with_notices(drawn, people, size.notice_within_s, dice)
        yield message
        for notice in about:
            number += 1
            heapq.heappush(waiting, (notice.at_s, number, replace(notice, number=number)))
    while waiting:
        yield heapq.heappop(waiting)[2]


def _with_notices(
    message: Message, people: Sequence[People], within_s: float, dice: random.Random
) -> tuple[Message, list[Notice]]:
    lot = dice.random()
    if not message.has_id or lot >= _READ_SHARE + _RECALL_SHARE:
        return message, []
    if lot < _READ_SHARE:
        return message, list(_reads(message, within_s, dice))
    (accounts,) = (those.accounts for those in people if those.app_id == message.app_id)
    return _recalled(message, accounts, within_s, dice)


def _reads(message: Message, within_s: float, dice: random.Random) -> Iterator[Notice]:
    """By some of those who are told of it."""
    readers = sorted({name for it in message.announcements for name in it.recipients} - {message.sender})
    for reader in dice.sample(readers, min(len(readers), dice.randint(1, _MOST_READERS))):
        yield _notice(message, READ, reader, dice.uniform(0.2, within_s), dice)


def _recalled(
    message: Message, accounts: Sequence[str], within_s: float, dice: random.Random
) -> tuple[Message, list[Notice]]:  # fmt: skip
    by = message.sender
    if dice.random() < _BY_ANOTHER_SHARE:
        by = dice.choice(
            [name for name in (message.group.members if message.group else accounts) if name != by] or [by]
        )
    after_s = dice.uniform(0.2, within_s)
    if dice.random() < _EARLY_SHARE:
        late = [replace(it, after_s=it.after_s + _EARLY_S) for it in message.announcements]
        message, after_s = replace(message, announcements=tuple(late)), 0.0
    notices = [_notice(message, RECALL, by, after_s, dice)]
    if dice.random() < _TWICE_SHARE:
        notices.append(_notice(message, RECALL, by, after_s + dice.uniform(0, within_s / 2), dice))
    return message, notices


def _notice(message: Message, why: str, by: str, after_s: float, dice: random.Random) -> Notice:
    if message.group:
        kind, recipients = "TOPIC_MSG", message.group.members
    else:
        kind, recipients = "MSG", (message.sender if why == READ else message.reader,)
    form = "OFFLINE" if dice.random() < _OFFLINE_SHARE else "NORMAL"
    announcement = Announcement(f"{form}_{kind}", recipients, 0.0, unheard=dice.random() < 0.05)
    return Notice(message.at_s + after_s, 0, why, by, message, announcement)

"""What is written in a run, and what MIMC says of it: drawn from the seed, before anything happens."""

import random
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.people import LOGINS, Group, People
from tests.chaos.size import Size

_FRIENDS = 4  # so that a conversation has several messages
_NORMAL_SHARE = 0.4  # every message really; the others would only cost the machine time
_TWIN_SHARE, _UNHEARD_SHARE = 0.1, 0.05
# where the app says that it is text: in a member of its own, in MIMC's bizType, or there with no envelope around it
_STYLES = ("msgType", "bizType", "plain")
_OLD_STYLES = ("msgType", "type")


@dataclass(frozen=True)
class Announcement:
    """One callback. `resources` are the logins that missed it, if MIMC names any.

    `twin`: it is posted twice at one time. `unheard`: MIMC does not hear the first 200, and says it again.
    """

    kind: str
    recipients: tuple[str, ...]
    after_s: float
    resources: tuple[str, ...] = ()
    twin: bool = False
    unheard: bool = False


@dataclass(frozen=True)
class Message:
    """`sequence` ascends within an app section, so also within a conversation; `old`: announced in the form of 2018."""

    at_s: float
    app_id: str
    sequence: int
    sender: str
    group: Group | None
    reader: str
    word: str
    old: bool
    style: str
    announcements: tuple[Announcement, ...]

    @property
    def has_id(self) -> bool:
        """Whether others can name it, by the id in its envelope."""
        return self.style != "plain"

    @property
    def conversation(self) -> str:
        return f"topic:{self.group.topic_id}" if self.group else f"p2p:{self.sender}>{self.reader}"


def draw_messages(seed: int, size: Size, people: Sequence[People]) -> Iterator[Message]:
    """In the order in which they are written."""
    dice = random.Random(f"messages {seed}")
    at_s = 0.0
    for number in range(1, size.messages + 1):
        at_s += dice.expovariate(size.pace)
        yield _message(at_s, number, dice.choice(people), dice, size)


def _message(at_s: float, sequence: int, people: People, dice: random.Random, size: Size) -> Message:
    group = dice.choice(people.groups) if dice.random() < size.group_share else None
    sender = dice.choice(group.members if group else people.accounts)
    reader = _friend(sender, people.accounts, dice)
    told_of = group.members if group else (reader,)
    old = _is_old(group.topic_id if group else sender)
    announcements = _of_group(told_of, dice, old=old) if group else _of_two(reader, dice, old=old)
    return Message(
        at_s=at_s,
        app_id=people.app_id,
        sequence=sequence,
        sender=sender,
        group=group,
        reader=reader,
        word="".join(dice.choices(string.ascii_lowercase, k=16)),
        old=old,
        style=dice.choice(_OLD_STYLES if old else _STYLES),
        announcements=tuple(announcements),
    )


def _is_old(speaker: str) -> bool:
    """One conversation keeps its form, because only the new one has a sequence to order it by."""
    return sum(speaker.encode()) % 3 == 0


def _friend(sender: str, accounts: Sequence[str], dice: random.Random) -> str:
    return accounts[(accounts.index(sender) + 1 + dice.randrange(_FRIENDS)) % len(accounts)]


def _of_two(reader: str, dice: random.Random, *, old: bool) -> Iterator[Announcement]:
    if dice.random() < _NORMAL_SHARE:
        yield Announcement("NORMAL_MSG", (reader,), 0.0)
    if old or dice.random() < 0.7:
        yield _offline("OFFLINE_MSG", (reader,), 0.0, dice)
        return
    yield _offline("OFFLINE_MSG", (reader,), 0.0, dice, LOGINS[:1])
    if dice.random() < 0.7:
        yield _offline("OFFLINE_MSG", (reader,), dice.uniform(0, 0.5), dice, LOGINS)


def _of_group(members: tuple[str, ...], dice: random.Random, *, old: bool) -> Iterator[Announcement]:
    """Those who missed it, in one callback or in several that overlap."""
    if dice.random() < _NORMAL_SHARE:
        yield Announcement("NORMAL_TOPIC_MSG", members, 0.0)
    missed = dice.sample(members, max(1, round(len(members) * dice.uniform(0.5, 1))))
    parts = min(len(missed), dice.choices((1, 2, 3), (6, 3, 1))[0])
    step = -(-len(missed) // parts)
    for part in range(parts):
        named = missed[max(0, part * step - step // 3) : (part + 1) * step]
        if named:
            resources = LOGINS if not old and dice.random() < 0.2 else ()
            yield _offline("OFFLINE_TOPIC_MSG", tuple(named), dice.uniform(0, 0.5) if part else 0.0, dice, resources)


def _offline(
    kind: str, recipients: tuple[str, ...], after_s: float, dice: random.Random, resources: tuple[str, ...] = ()
) -> Announcement:
    twin, unheard = dice.random() < _TWIN_SHARE, dice.random() < _UNHEARD_SHARE
    return Announcement(kind, recipients, after_s, resources, twin, unheard)

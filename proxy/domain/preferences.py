"""What a user asks of their alerts: which conversations are muted, when their phone makes no sound, how much it shows.

Pure: the time zone's rules come with the value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from zoneinfo import ZoneInfo

from proxy.domain.previews import Preview

MOST_MUTED = 200  # conversations of one account: with the longest names they fill a request's body


@dataclass(frozen=True)
class Mute:
    """No alert of the conversation before `until` (aware UTC), None: until the user lifts it.

    `mentions_pass`: but of messages that name the user.
    """

    until: datetime | None = None
    mentions_pass: bool = False

    def holds_at(self, now: datetime) -> bool:
        return self.until is None or now < self.until


@dataclass(frozen=True)
class QuietHours:
    """From `start` to `end`, by the clock on a wall of that zone; over midnight where the end is the earlier one.

    So they follow summer time, and a wall's hour that comes twice is quiet twice. `calls_pass`: what is urgent sounds.
    """

    start: time
    end: time
    zone: ZoneInfo
    calls_pass: bool = True

    def hold_at(self, now: datetime) -> bool:
        wall = now.astimezone(self.zone).time()
        if self.start < self.end:
            return self.start <= wall < self.end
        return wall >= self.start or wall < self.end

    def silence(self, now: datetime, *, urgent: bool) -> bool:
        """An alert makes no sound then. `urgent`: its kind is, as a call's."""
        return self.hold_at(now) and not (urgent and self.calls_pass)


@dataclass(frozen=True)
class Treatment:
    """How one account is told of one message: not at all, without a sound, with as much as it may show; and whether
    the message names it.
    """

    muted: bool = False
    silent: bool = False
    preview: Preview = Preview.FULL
    mentioned: bool = False


@dataclass(frozen=True)
class Preferences:
    """Of one account in one app. `mutes` by conversation, as its messages name it: "p2p:<account>", "topic:<id>"."""

    mutes: Mapping[str, Mute] = field(default_factory=dict)
    quiet_hours: QuietHours | None = None
    preview: Preview = Preview.FULL

    def treatment(self, conversation: str, now: datetime, *, urgent: bool, mentioned: bool) -> Treatment:
        """What becomes of a message of that conversation. `urgent`: its kind is, as a call's; `mentioned`: it names
        the account."""
        mute = self.mutes.get(conversation)
        return Treatment(
            muted=mute is not None and mute.holds_at(now) and not (mentioned and mute.mentions_pass),
            silent=self._is_quiet(now, urgent=urgent),
            preview=self.preview,
            mentioned=mentioned,
        )

    def at(self, now: datetime) -> "Preferences":
        """The same without mutes that are over."""
        mutes = {conversation: mute for conversation, mute in self.mutes.items() if mute.holds_at(now)}
        return Preferences(mutes, self.quiet_hours, self.preview)

    def _is_quiet(self, now: datetime, *, urgent: bool) -> bool:
        return self.quiet_hours is not None and self.quiet_hours.silence(now, urgent=urgent)


AS_USUAL = Treatment()
DEFAULT = Preferences()
# of a record that this program cannot read: never more than the user agreed to show
UNREADABLE = Preferences(preview=Preview.NONE)


def zone_of(name: str) -> ZoneInfo | None:
    """The time zone of that name in the IANA database; None where there is none.

    The rules are the machine's own, else those of the package tzdata; each zone is read once.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no relative path; a folder of the database, like "Asia"
        return None

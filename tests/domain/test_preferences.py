"""Mutes, quiet hours and previews: what becomes of one message for one account."""

from datetime import UTC, datetime, time, timedelta
from importlib.resources import files

import pytest

from proxy.domain.preferences import Mute, Preferences, QuietHours, Treatment, zone_of

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def quiet(start: str, end: str, zone: str, *, calls_pass: bool = True) -> QuietHours:
    found = zone_of(zone)
    assert found is not None
    return QuietHours(time.fromisoformat(start), time.fromisoformat(end), found, calls_pass)


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def treated(
    preferences: Preferences, now: datetime = NOON, *, urgent: bool = False, mentioned: bool = False
) -> Treatment:
    return preferences.treatment("topic:t1", now, urgent=urgent, mentioned=mentioned)


def test_a_mute_holds_for_its_conversation_and_until_its_end() -> None:
    muted = Preferences({"topic:t1": Mute(NOON + HOUR), "p2p:ann": Mute()})
    assert treated(muted).muted
    assert treated(muted, NOON + HOUR - timedelta(seconds=1)).muted
    assert not treated(muted, NOON + HOUR).muted
    assert not muted.treatment("topic:t2", NOON, urgent=False, mentioned=False).muted
    assert muted.treatment("p2p:ann", NOON + 9999 * HOUR, urgent=True, mentioned=True).muted
    assert muted.at(NOON + HOUR) == Preferences({"p2p:ann": Mute()})


def test_a_message_that_names_the_user_passes_a_mute_that_lets_mentions_pass_and_no_other() -> None:
    assert not treated(Preferences({"topic:t1": Mute(mentions_pass=True)}), mentioned=True).muted
    assert treated(Preferences({"topic:t1": Mute(mentions_pass=True)})).muted
    assert treated(Preferences({"topic:t1": Mute()}), mentioned=True).muted


@pytest.mark.parametrize(
    ("start", "end", "now", "is_quiet"),
    [
        ("22:00", "07:00", "2026-11-23T21:59:59+08:00", False),
        ("22:00", "07:00", "2026-11-23T22:00:00+08:00", True),
        ("22:00", "07:00", "2026-11-24T00:00:00+08:00", True),  # over midnight
        ("22:00", "07:00", "2026-11-24T06:59:59+08:00", True),
        ("22:00", "07:00", "2026-11-24T07:00:00+08:00", False),
        ("12:30", "14:00", "2026-11-24T12:29:59+08:00", False),
        ("12:30", "14:00", "2026-11-24T13:59:59+08:00", True),
        ("12:30", "14:00", "2026-11-24T14:00:00+08:00", False),
        ("00:00", "06:00", "2026-11-24T00:00:00+08:00", True),
        ("22:00", "00:00", "2026-11-23T23:59:59+08:00", True),
        ("22:00", "00:00", "2026-11-24T00:00:00+08:00", False),
    ],
)
def test_quiet_hours_are_of_the_wall_clock_of_their_zone(start: str, end: str, now: str, is_quiet: bool) -> None:
    assert quiet(start, end, "Asia/Shanghai").hold_at(at(now).astimezone(UTC)) is is_quiet


@pytest.mark.parametrize(
    ("start", "end", "now", "is_quiet"),
    [
        # 2026-03-29 in Prague: after 01:59:59 comes 03:00, an hour nearer to UTC's noon
        ("22:00", "07:00", "2026-03-28T21:00Z", True),
        ("22:00", "07:00", "2026-03-29T04:59Z", True),  # 06:59 in summer; 05:59 in winter's time
        ("22:00", "07:00", "2026-03-29T05:00Z", False),
        ("02:30", "06:00", "2026-03-29T00:59Z", False),  # 01:59
        ("02:30", "06:00", "2026-03-29T01:00Z", True),  # 03:00: half past two never was
        # 2026-10-25 in Prague: after 02:59:59 comes 02:00 again
        ("22:00", "07:00", "2026-10-25T05:30Z", True),  # 06:30 in winter; 07:30 in summer's time
        ("22:00", "07:00", "2026-10-25T06:00Z", False),
        ("22:00", "02:30", "2026-10-25T00:15Z", True),  # 02:15 for the first time
        ("22:00", "02:30", "2026-10-25T00:45Z", False),
        ("22:00", "02:30", "2026-10-25T01:15Z", True),  # 02:15 for the second time
        ("22:00", "02:30", "2026-10-25T01:45Z", False),
    ],
)
def test_quiet_hours_follow_summer_time_both_ways(start: str, end: str, now: str, is_quiet: bool) -> None:
    assert quiet(start, end, "Europe/Prague").hold_at(at(now)) is is_quiet


def test_in_quiet_hours_an_alert_is_silent_and_a_call_is_not_unless_the_user_says_so() -> None:
    calls, no_calls = (
        Preferences(quiet_hours=quiet("11:00", "13:00", "UTC", calls_pass=calls_pass)) for calls_pass in (True, False)
    )
    assert treated(calls) == Treatment(silent=True)
    assert treated(calls, NOON + HOUR) == Treatment()
    assert treated(calls, urgent=True) == Treatment()
    assert treated(no_calls, urgent=True) == Treatment(silent=True)


@pytest.mark.parametrize("name", ["", "Asia", "Asia/Atlantis", "../etc/passwd", "/etc/passwd", "Asia/../Asia/Tokyo"])
def test_what_is_no_time_zone_is_none(name: str) -> None:
    assert zone_of(name) is None


def test_there_are_time_zones_on_a_machine_without_any_of_its_own() -> None:
    """The package tzdata has them."""
    assert files("tzdata.zoneinfo.Asia").joinpath("Shanghai").is_file()

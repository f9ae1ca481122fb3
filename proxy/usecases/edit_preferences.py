"""Read what a signed-in user asks of their alerts, and show it again in the same words."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

from proxy.domain.preferences import MOST_MUTED, Mute, Preferences, QuietHours, zone_of
from proxy.domain.previews import Preview
from proxy.errors import BadRequest

_MEMBERS = {"app", "mutes", "quiet_hours", "preview"}
_OF_A_MUTE = {"account", "topic_id", "mentions", "until"}
_OF_QUIET_HOURS = {"from", "to", "time_zone", "calls"}
_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")
_LONGEST_NAME = 256
_TOPIC_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")  # decimal digits today
_LONGEST_MUTE = timedelta(days=3660)
_NO_NAME = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def read_preferences(asked: Mapping[str, object], now: datetime) -> Preferences:
    """Preferences from the client's JSON object; a member that is absent or null is as if nothing had been set.

    Members: "mutes", a list of {"account" or "topic_id", "mentions"?, "until"?}; "quiet_hours", {"from", "to",
    "time_zone", "calls"?}; "preview"; "app" is for the caller. A mute that is over is left out, and of two of one
    conversation the last counts. Raises BadRequest naming the first member of another shape.
    """
    _only(asked, "body", _MEMBERS)
    return Preferences(
        _mutes(asked.get("mutes"), now), _quiet_hours(asked.get("quiet_hours")), _preview(asked.get("preview"))
    )


def shown(preferences: Preferences) -> dict[str, object]:
    """The JSON object from which `read_preferences` makes the same."""
    return {
        "mutes": [_shown_mute(conversation, mute) for conversation, mute in preferences.mutes.items()],
        "quiet_hours": _shown_quiet_hours(preferences.quiet_hours) if preferences.quiet_hours else None,
        "preview": preferences.preview.value,
    }


def _mutes(value: object, now: datetime) -> dict[str, Mute]:
    if value is None:
        return {}
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BadRequest("mutes", expected="a list of objects", got=value)
    if len(value) > MOST_MUTED:
        raise BadRequest("mutes", expected=f"at most {MOST_MUTED} conversations", got=value)
    mutes = dict(_mute(one, f"mutes[{place}]", now) for place, one in enumerate(value))
    return {conversation: mute for conversation, mute in mutes.items() if mute.holds_at(now)}


def _mute(asked: Mapping[str, object], field: str, now: datetime) -> tuple[str, Mute]:
    _only(asked, field, _OF_A_MUTE)
    until = _until(asked.get("until"), f"{field}.until", now)
    mentions_pass = _flag(asked.get("mentions"), f"{field}.mentions", default=False)
    return conversation_of(asked, field), Mute(until, mentions_pass)


def conversation_of(asked: Mapping[str, object], field: str) -> str:
    """As clients know it: the other person, or the group's topicId."""
    if ("account" in asked) is ("topic_id" in asked):
        raise BadRequest(field, expected="either account or topic_id", got=dict(asked))
    if "topic_id" in asked:
        topic_id = asked["topic_id"]
        # a number would have lost its last digits on the way: it exceeds 2^53
        if not isinstance(topic_id, str) or not _TOPIC_ID.fullmatch(topic_id):
            raise BadRequest(f"{field}.topic_id", expected="the group's topicId, as text", got=topic_id)
        return f"topic:{topic_id}"
    account = asked["account"]
    if not isinstance(account, str) or _NO_NAME.search(account) or not 1 <= len(account.encode()) <= _LONGEST_NAME:
        raise BadRequest(f"{field}.account", expected=f"1 to {_LONGEST_NAME} bytes on one line", got=account)
    return f"p2p:{account}"


def _until(value: object, field: str, now: datetime) -> datetime | None:
    if value is None:
        return None
    try:
        until = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 40 else None
    except ValueError:
        until = None
    if until is None or until.tzinfo is None or until - now > _LONGEST_MUTE:
        raise BadRequest(field, expected="a time like 2030-01-31T08:00:00Z within ten years, or null", got=value)
    return until.astimezone(UTC).replace(microsecond=0) if until > now else now


def _quiet_hours(value: object) -> QuietHours | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadRequest("quiet_hours", expected="an object or null", got=value)
    _only(value, "quiet_hours", _OF_QUIET_HOURS)
    start, end = (_clock(value.get(name, ...), f"quiet_hours.{name}") for name in ("from", "to"))
    if start == end:
        raise BadRequest("quiet_hours.to", expected="another time than from", got=value["to"])
    name = value.get("time_zone", ...)
    zone = zone_of(name) if isinstance(name, str) and _ZONE.fullmatch(name) else None
    if zone is None:
        raise BadRequest("quiet_hours.time_zone", expected="a time zone of IANA, like Asia/Shanghai", got=name)
    return QuietHours(start, end, zone, _flag(value.get("calls"), "quiet_hours.calls", default=True))


def _clock(value: object, field: str) -> time:
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise BadRequest(field, expected="a time of day like 22:30", got=value)
    return time.fromisoformat(value)


def _preview(value: object) -> Preview:
    try:
        return Preview.FULL if value is None else Preview(value)  # type: ignore[arg-type]  # any other is a ValueError
    except ValueError:
        raise BadRequest("preview", expected='"full", "sender" or "none"', got=value) from None


def _flag(value: object, field: str, *, default: bool) -> bool:
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadRequest(field, expected="true or false", got=value)
    return value


def _only(asked: Mapping[str, object], field: str, members: set[str]) -> None:
    if asked.keys() - members:
        raise BadRequest(field, expected=f"no members but {', '.join(sorted(members))}", got=dict(asked))


def _shown_mute(conversation: str, mute: Mute) -> dict[str, object]:
    kind, _, name = conversation.partition(":")
    return {
        "topic_id" if kind == "topic" else "account": name,
        "mentions": mute.mentions_pass,
        "until": mute.until.isoformat(timespec="seconds") if mute.until else None,
    }


def _shown_quiet_hours(quiet: QuietHours) -> dict[str, object]:
    return {
        "from": quiet.start.isoformat("minutes"),
        "to": quiet.end.isoformat("minutes"),
        "time_zone": quiet.zone.key,
        "calls": quiet.calls_pass,
    }

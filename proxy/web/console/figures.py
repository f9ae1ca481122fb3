"""Numbers, ages and times as people read them."""

from datetime import UTC, datetime

from proxy.web.console.words import say


def number(value: float) -> str:
    """1234567 -> "1,234,567"; what is not whole has two digits behind the point at most."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def age(seconds: float) -> str:
    """An age or a length of time, by its largest unit."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return say(f"units.{unit}", n=int(seconds // size))
    if seconds >= 1 or seconds <= 0:
        return say("units.seconds", n=int(max(seconds, 0)))
    return say("units.milliseconds", n=round(seconds * 1000))


def latency(seconds: float) -> str:
    """With two digits that count, while it is a matter of seconds."""
    if seconds < 1:
        return say("units.milliseconds", n=round(seconds * 1000))
    return say("units.seconds", n=round(seconds, 1)) if seconds < 60 else age(seconds)


def share(part: int, other: int) -> str:
    """How much of both `part` is, in per cent."""
    return f"{100 * part / (part + other):.1f} %" if part else "0 %"


def clock(when: datetime) -> str:
    """In UTC, as logs have it."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def precise(when: datetime) -> str:
    """To the millisecond, as `app-proxy explain` has it."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03d} UTC"

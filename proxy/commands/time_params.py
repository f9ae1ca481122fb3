"""Times on the command line: a moment is "2h" (ago) or like 2026-11-23T09:30, a span is like 90s, 30m, 2h or 7d."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_SPAN = re.compile(r"([0-9]{1,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Moment(click.ParamType[datetime]):
    """Aware; what names no zone is UTC."""

    name = "2h|time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if (ago := _span(value)) is not None:
            return datetime.now(UTC) - ago
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail("expected like 90s, 30m, 2h, 7d (ago), or a time like 2026-11-23T09:30 (UTC)", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


class Span(click.ParamType[timedelta]):
    """A timedelta."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        span = _span(value)
        return self.fail("expected like 90s, 30m, 2h or 7d", param, ctx) if span is None else span


def _span(text: str) -> timedelta | None:
    found = _SPAN.fullmatch(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None

"""A moment on the command line: "2h" (ago), or a time like 2026-11-23T09:30."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Moment(click.ParamType[datetime]):
    """Aware; what names no zone is UTC."""

    name = "2h|time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if ago := _AGO.fullmatch(value):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail("expected like 90s, 30m, 2h, 7d (ago), or a time like 2026-11-23T09:30 (UTC)", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)

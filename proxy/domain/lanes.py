"""Lanes: one app section's pushes through one channel, with a backlog, a limit and a pause of their own."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, order=True)
class Lane:
    """`app` is a section of the settings, `channel` a name in `channels`."""

    app_id: str
    app: str
    channel: str


@dataclass(frozen=True)
class Route:
    """Where the alerts of an app section go: to each registered device, or to the account itself."""

    lane: Lane
    to_account: bool


@dataclass(frozen=True)
class Pause:
    """Why a lane stands, and since when (aware UTC)."""

    reason: str
    since: datetime

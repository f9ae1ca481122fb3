"""Lanes: one app section's pushes through one channel, with a backlog, a limit and a pause of their own."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from proxy.domain.previews import Preview


class Lane(NamedTuple):
    """`app` is a section of the settings, `channel` a name in `channels`.

    A tuple, for each alert looks it up some thirty times: a dataclass takes four times as long to be hashed.
    """

    app_id: str
    app: str
    channel: str

    @property
    def name(self) -> str:
        return f"{self.app}/{self.channel}"


class Callbacks(NamedTuple):
    """What was accepted of an appId and is not planned yet."""

    app_id: str

    @property
    def name(self) -> str:
        return f"callbacks of {self.app_id}"


Source = Lane | Callbacks  # of what a worker claims


@dataclass(frozen=True)
class Route:
    """Where the alerts of an app section go: to each registered device, or to the account itself.

    `preview` is how much of a message the section lets them show.
    """

    lane: Lane
    to_account: bool
    preview: Preview = Preview.FULL


class PauseKind(StrEnum):
    """What kind of trouble pauses a lane."""

    FAULT = "fault"  # ours: key, configuration, quota; a person must look
    BREAKER = "breaker"  # theirs: one request after the other failed
    REST = "rest"  # they asked us to come back later


@dataclass(frozen=True)
class Pause:
    """Why a lane is paused, and since when (aware UTC)."""

    reason: str
    since: datetime
    kind: PauseKind = PauseKind.FAULT


@dataclass(frozen=True)
class StoredLane:
    """What the store knows of a lane: why it is paused, or else how long ago it was resumed, where that was lately."""

    pause: Pause | None = None
    resumed: timedelta | None = None

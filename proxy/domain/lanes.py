"""Lanes: one app section's pushes through one channel, with a backlog, a limit and a pause of their own."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

_FIRST_IN_FLIGHT = 4


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


class PauseKind(StrEnum):
    """Whose trouble it is that a lane stands."""

    FAULT = "fault"  # ours: key, configuration, allowance; a person must look
    BREAKER = "breaker"  # theirs: one request after the other failed
    REST = "rest"  # they asked us to come back later


@dataclass(frozen=True)
class Pause:
    """Why a lane stands, and since when (aware UTC)."""

    reason: str
    since: datetime
    kind: PauseKind = PauseKind.FAULT


@dataclass(frozen=True)
class LaneState:
    """What the store knows of a lane: why it stands, or else how long ago it went on, where that was lately."""

    pause: Pause | None = None
    resumed: timedelta | None = None


@dataclass(frozen=True)
class StoredLane:
    """What the store knows of a lane: why it is paused, or else how long ago it was resumed, where that was lately."""

    pause: Pause | None = None
    resumed: timedelta | None = None


def ramped(most: int, since_s: float) -> int:
    """How many may be in flight so long after a lane went on: a few at first, twice as many each second, then `most`.

    A provider that has just come back would fall over again under a whole backlog at once.
    """
    return min(most, int(_FIRST_IN_FLIGHT * 2 ** min(max(since_s, 0.0), 60.0)))

"""How many streams a connection may have open, and which limit the client has acknowledged."""

from collections import deque
from enum import Enum, auto

from proxy.emulators.apns.config import Excess


class Admission(Enum):
    """What becomes of a new stream: the last two are not served."""

    WITHIN = auto()
    TOLERATED = auto()
    REFUSED = auto()
    SENT_AWAY = auto()


class StreamLimit:
    """The limit in force on one connection, from SETTINGS to their acknowledgement.

    One stream (`initial`) until a push was good, `raised` from then on. A limit that was ordered replaces `raised`,
    and `initial` where it is lower.
    """

    def __init__(self, initial: int, raised: int, excess: Excess, ordered: int | None) -> None:
        self._initial, self._raised, self._excess = initial, raised, excess
        self.warm = False
        self.current = self._wanted(ordered)
        self.acknowledged: int | None = None
        self._announced = deque([self.current])

    def warm_up(self) -> None:
        """A push was good."""
        self.warm = True

    def change(self, ordered: int | None) -> int | None:
        """The limit to announce now; None if it has not changed."""
        wanted = self._wanted(ordered)
        if wanted == self.current:
            return None
        self.current = wanted
        self._announced.append(wanted)
        return wanted

    def acknowledge(self) -> None:
        """The client has acknowledged the oldest SETTINGS that it had not yet."""
        if self._announced:
            self.acknowledged = self._announced.popleft()

    def exceeds_acknowledged(self, streams_open: int) -> bool:
        """Whether this number of streams is above a limit that the client has acknowledged."""
        return self.acknowledged is not None and streams_open > self.acknowledged

    def admit(self, streams_open: int) -> Admission:
        """What becomes of a stream that makes `streams_open` of them."""
        if streams_open <= self.current:
            return Admission.WITHIN
        if self._excess == "count":
            return Admission.TOLERATED
        if self._excess == "goaway" and self.exceeds_acknowledged(streams_open):
            return Admission.SENT_AWAY
        return Admission.REFUSED

    def _wanted(self, ordered: int | None) -> int:
        if self.warm:
            return self._raised if ordered is None else ordered
        return self._initial if ordered is None else min(self._initial, ordered)

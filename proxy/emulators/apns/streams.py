"""One request on its way through a connection, and its entry in the journal."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from proxy.emulators.apns.rules import Judgement, PushRequest

# no payload may be larger; what comes beyond it is not kept
_BODY_KEPT = 8192


@dataclass(eq=False)
class Stream:
    """Headers, then a body, then the complete request with what is to be answered, perhaps by a timer."""

    stream_id: int
    headers: list[tuple[bytes, bytes]]
    streams_open: int
    body: bytearray = field(default_factory=bytearray)
    request: PushRequest | None = None
    judgement: Judgement | None = None
    timer: asyncio.TimerHandle | None = None
    journaled: bool = False
    came_ms: int = 0
    fault: str | None = None
    unsent: bytes = b""  # the rest of the answer's body, for which the client's window has no room yet

    def collect(self, data: bytes) -> None:
        if len(self.body) < _BODY_KEPT:
            self.body += data

    def stop_timer(self) -> None:
        if self.timer:
            self.timer.cancel()

    def entry(self, lost: str | None) -> dict[str, Any] | None:
        """What happened to the push; None if it is incomplete or is in the journal already.

        `lost` says why the sender got no answer: how the stream or the connection ended, or a fault.
        """
        request, judgement = self.request, self.judgement
        if request is None or judgement is None or self.journaled:
            return None
        self.journaled = True
        headers, answer = request.headers, judgement.answer
        return {
            "stream_id": self.stream_id,
            "streams_open": self.streams_open,
            "device_token": request.device_token,
            "accepted": answer.status == 200,
            "answered": lost is None,
            "lost": lost,
            "fault": self.fault,
            "came_ms": self.came_ms,
            "status": answer.status or None,
            "reason": answer.reason,
            "apns_id": judgement.apns_id,
            "collapse_id": headers.get("apns-collapse-id"),
            "topic": headers.get("apns-topic"),
            "push_type": headers.get("apns-push-type"),
            "priority": headers.get("apns-priority"),
            "expiration": headers.get("apns-expiration"),
            "payload": judgement.payload,
        }

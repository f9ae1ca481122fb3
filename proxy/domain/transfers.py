"""What goes to a provider and what comes back: one HTTP request, its response, or why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP POST to a provider. Address, headers and body hold secrets and words of users: none is in the repr."""

    url: str = field(repr=False)
    headers: tuple[str, ...] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Prevented(Response):
    """What another call was answered, without which the one that was asked for could not leave."""


class FailureKind(StrEnum):
    """How far a request without a response that we can use got."""

    NOT_SENT = "not sent"  # not one byte left, for a reason of ours: no place, the lease is over, we are closing
    UNREACHABLE = "unreachable"  # not one byte left: the provider was not reached
    BROKEN = "broken"  # it may have arrived; its connection or stream ended before the response
    TIMED_OUT = "timed out"  # it may have arrived; no response in time
    WITHHELD = "withheld"  # it has arrived; its response is not passed on


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """There is none that can be used. `reason` is a few words of ours, without names of hosts, paths or accounts."""

    reason: str
    kind: FailureKind

    @property
    def sent(self) -> bool:
        """Whether anything of the request may have arrived."""
        return self.kind in (FailureKind.BROKEN, FailureKind.TIMED_OUT, FailureKind.WITHHELD)


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing was sent: the service gave no answers lately, or failed. Worth another try in `wait_s` seconds."""

    wait_s: float


TRANSPORT_CLOSED = "transport closed"  # the reason of a failure after we ended the transport ourselves

"""All that the use cases ask of the world."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from proxy.domain.callbacks import Callback
from proxy.domain.devices import Device
from proxy.domain.jobs import Push
from proxy.domain.outcomes import Outcome


@dataclass(frozen=True)
class Request:
    """One HTTP POST to a provider. Headers and body hold secrets and words of users: neither is in the repr."""

    url: str = field(repr=False)
    headers: tuple[str, ...] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class NoAnswer:
    """The transport failed. `sent` is False only where not one byte of the request can have left."""

    reason: str
    sent: bool


class Wire(Protocol):
    """A channel's language, pure: jobs to a request, an answer to outcomes.

    `authorization` is the value of that header. `read` gives one outcome per push, in order; Split only where several
    pushes were refused together and none was named.
    """

    batch_limit: int

    def batch_key(self, push: Push) -> Hashable: ...

    def refuse(self, push: Push) -> Outcome | None: ...

    def build(self, pushes: Sequence[Push], authorization: str, now: datetime) -> Request: ...

    def read(self, pushes: Sequence[Push], answer: Answer, now: datetime) -> list[Outcome]: ...


@dataclass(frozen=True)
class Receipt:
    """What became of a callback: new, or the repeat of one that is stored already."""

    duplicate: bool


class CallbackInbox(Protocol):
    """Takes callbacks for good. Raises StoreUnavailable or StoreFull."""

    def accept(self, callback: Callback, now: datetime) -> Receipt: ...


class DeviceRegistry(Protocol):
    """Who is reached where, as the signed-in users say. Raises StoreUnavailable."""

    def register(self, device: Device) -> None: ...

    def devices_of(self, app: str, account: str) -> list[Device]: ...

    def remove(self, app: str, account: str, device_id: str) -> bool: ...


class TokenService(Protocol):
    """MIMC's TokenService. The answer is theirs, untouched; NoAnswer where there was none."""

    def issue(self, app: str, account: str) -> Answer | NoAnswer: ...


@dataclass(frozen=True)
class Figure:
    """One number of the store, as a metric: name, help, labels, value."""

    name: str
    help: str
    labels: Mapping[str, str]
    value: float


class Figures(Protocol):
    """The store's own numbers: lengths, ages, pauses, dead letters. Raises StoreUnavailable."""

    def read(self) -> list[Figure]: ...


@dataclass(frozen=True)
class Health:
    """Can the service do its work? `ready` is False only for what stops it; `details` are sentences for a person."""

    ready: bool
    details: Mapping[str, str]


class HealthCheck(Protocol):
    def check(self) -> Health: ...

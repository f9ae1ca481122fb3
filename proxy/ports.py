"""All that the use cases ask of the world."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from proxy.domain.alerts import Order
from proxy.domain.dead_letters import Cause, DeadLetter
from proxy.domain.devices import Device, RemovalResult
from proxy.domain.jobs import Job, Push
from proxy.domain.lanes import Lane, PauseKind
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.outcomes import Outcome
from proxy.domain.transfers import Request, Response, TransportFailure


class Wire(Protocol):
    """A channel's language, pure: jobs to a request, an answer to outcomes.

    `authorization` is the value of that header. `read` gives one outcome per push, in order; Split only where several
    pushes were refused together and none was named.
    """

    batch_limit: int

    def batch_key(self, job: Job) -> Hashable: ...

    def refuse(self, push: Push) -> Outcome | None: ...

    def build(self, pushes: Sequence[Push], authorization: str, now: datetime) -> Request: ...

    def read(self, pushes: Sequence[Push], answer: Response, now: datetime) -> list[Outcome]: ...


@dataclass(frozen=True)
class Receipt:
    """What became of a callback: new, or the repeat of one that is stored already.

    `spooled`: on this machine's disk, for the store is away; whether it is a repeat will be seen later.
    """

    duplicate: bool
    spooled: bool = False


class CallbackInbox(Protocol):
    """Takes callbacks for good. Raises StoreUnavailable or StoreFull."""

    def accept(self, message: OfflineMessage, callback_id: str) -> Receipt:
        """`callback_id` tells a repeat of the callback from another one about the same message."""


class DeviceRegistry(Protocol):
    """Who is reached where, as the signed-in users say. Raises StoreUnavailable."""

    def register(self, device: Device) -> Sequence[str]:
        """The ids of the account's oldest devices, which had to make room for this one; mostly none."""

    def devices_of(self, app: str, account: str) -> list[Device]: ...

    def remove(self, app: str, account: str, device_id: str) -> bool: ...

    def lift_unknown(self, app: str, account: str) -> None:
        """The account is in use: a provider that did not know it is asked again. Raises nothing."""


class BlockList(Protocol):
    """Accounts and sessions that may do nothing any more. Raises StoreUnavailable. See store/blocks.py."""

    def is_blocked(self, account: str, session_id: str | None) -> bool: ...

    def block(self, account: str) -> None: ...

    def unblock(self, account: str) -> None: ...

    def block_session(self, session_id: str, life: timedelta) -> None: ...


class BlockMarks(BlockList, Protocol):
    """The same, as the built-in accounts are kept in step with it."""

    def blocked_among(self, accounts: Sequence[str]) -> set[str]: ...


class RateLimits(Protocol):
    """Counts calls over a sliding window. Raises StoreUnavailable."""

    def spend(self, name: str, rate: str, who: str) -> float | None:
        """Counts one call of `who`. None: it is within the rate, like "60/minute"; else it was not counted, and in so
        many seconds there is room for another."""


class TokenService(Protocol):
    """MIMC's TokenService. The answer is theirs, untouched; NoAnswer where there was none."""

    def issue(self, app: str, account: str) -> Response | TransportFailure: ...


@dataclass(frozen=True)
class Metric:
    """One number of the store, as a metric: name, help, labels, value."""

    name: str
    help: str
    labels: Mapping[str, str]
    value: float


class StoreMetrics(Protocol):
    """The store's own numbers: lengths, ages, pauses, dead letters. Raises StoreUnavailable."""

    def read(self) -> list[Metric]: ...


@dataclass(frozen=True)
class Health:
    """Can the service do its work? `ready` is False only for what stops it; `details` are sentences for a person."""

    ready: bool
    details: Mapping[str, str]


class HealthCheck(Protocol):
    def check(self) -> Health: ...


@dataclass(frozen=True)
class Entry:
    """A claimed stream entry. `deliveries` counts the claims so far, this one included."""

    id: bytes
    record: bytes = field(repr=False)
    deliveries: int = 1


@dataclass(frozen=True)
class Finish:
    """The entry is done with and goes."""

    entry_id: bytes


@dataclass(frozen=True)
class Postpone:
    """The entry goes; its job comes back to the lane at `when`."""

    entry_id: bytes
    job: Job
    when: datetime


@dataclass(frozen=True)
class Bury:
    """The entry becomes a dead letter: a job, a callback's message, or as it is where nobody can read it."""

    entry_id: bytes
    cause: Cause
    reason: str
    of: Job | OfflineMessage | Entry


Settlement = Finish | Postpone | Bury


class PutBack(Enum):
    """What became of a dead letter that was to go back to work."""

    DONE = auto()
    GONE = auto()  # somebody put it back or dropped it before
    FULL = auto()  # its stream is at its cap; the letter stays


class DeadLetters(Protocol):
    """The dead letters. Raises StoreUnavailable. See store/dead_letters.py."""

    def has(self, letter: DeadLetter) -> bool: ...

    def whole(self, letter: DeadLetter) -> Job | OfflineMessage | Entry | None: ...

    def put_back(self, letter: DeadLetter, of: Job | OfflineMessage | Entry, lane: Lane | None) -> PutBack: ...


class JobQueue(Protocol):
    """The streams as one worker instance holds them. See store/queue.py."""

    async def append_jobs(
        self, app_id: str, message_id: str, entry_id: bytes, jobs: Sequence[tuple[Lane, Job]], *, last: bool
    ) -> list[bool] | None: ...


@dataclass(frozen=True)
class Owned:
    """A device that is still its account's. `rests`: so long it takes no more, says the provider."""

    device: Device
    rests: timedelta = timedelta(0)


@dataclass(frozen=True)
class LineState:
    """`is_free`: nobody else's push of the line is out. `shown` is the latest alert that was accepted on it.

    `sent` is the latest that has left, or was about to, and was not heard of: it may be shown too.
    """

    is_free: bool
    shown: Order | None = None
    sent: Order | None = None


@dataclass(frozen=True)
class Landing:
    """The push of a line has ended. `order` is its alert's, None where none went out after all.

    `accepted`: it is shown now. `over`: it is, or it surely is not and will not be by this push.
    """

    line: str
    order: Order | None = None
    accepted: bool = False
    over: bool = False


class AddressBook(Protocol):
    """Registrations and lines, for the worker. See store/addresses.py."""

    async def devices_of(self, app: str, accounts: Sequence[str]) -> list[list[Device]]: ...

    async def owned(self, app: str, targets: Sequence[tuple[str, str]]) -> list[Owned | None]: ...

    async def rest(self, device: Device, span: timedelta) -> None: ...

    async def forget(self, device: Device, before: datetime, now: datetime) -> RemovalResult: ...

    async def mark_invalid(self, device: Device, invalid_reason: str) -> None: ...

    async def blocked(self, accounts: Sequence[str]) -> set[str]: ...

    async def unknown(self, lane: Lane, accounts: Sequence[str]) -> set[str]: ...

    async def remember_unknown(self, lane: Lane, account: str, life: timedelta) -> None: ...

    async def board(self, lane: Lane, lines: Sequence[str], lease: timedelta) -> list[LineState]: ...

    async def depart(self, lane: Lane, departing: Sequence[tuple[str, Order]], life: timedelta) -> None: ...

    async def land(self, lane: Lane, landed: Sequence[Landing], life: timedelta) -> None: ...


class LaneStates(Protocol):
    """Which lanes stand still; one truth for all workers. See store/lanes.py."""

    async def pause(
        self,
        lane: Lane,
        reason: str,
        now: datetime,
        first_probe: datetime,
        kind: PauseKind,
        longest_wait: timedelta,
    ) -> bool: ...

    async def resume(self, lane: Lane) -> bool: ...


class Transport(Protocol):
    """Carries one request. `may_send` is asked at the last moment before the first byte leaves."""

    async def send(self, request: Request, may_send: Callable[[], bool]) -> Response | TransportFailure: ...


class Authorization(Protocol):
    """The value of a provider's authorization header."""

    async def current(self) -> str: ...

    async def renew(self, refused: str) -> bool: ...

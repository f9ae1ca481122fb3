"""What the program asks of the world: the Protocols that have more than one implementation."""

import asyncio
from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from proxy.domain.callbacks import Receipt
from proxy.domain.dead_letters import DeadLetter, PutBack
from proxy.domain.devices import Device, Registered
from proxy.domain.forwards import Forward
from proxy.domain.history import Noted
from proxy.domain.jobs import Job, Push
from proxy.domain.lanes import Lane
from proxy.domain.limits import Admitted, Blocked, Budget, Exceeded
from proxy.domain.monitoring import Health, Metric
from proxy.domain.offline_messages import Letter, OfflineMessage
from proxy.domain.outcomes import Outcome
from proxy.domain.preferences import Preferences
from proxy.domain.settlements import Entry
from proxy.domain.transfers import Paused, Request, Response, TransportFailure
from proxy.errors import StoreUnavailable

if TYPE_CHECKING:  # where MIMC's API is closed, none of its modules is loaded
    from proxy.domain.api_keys import ApiKey
    from proxy.domain.idempotency import Answered, Begun, Call, Found
    from proxy.domain.quotas import QuotaRequest, QuotaSpent


class Wire(Protocol):
    """A channel's language, pure: jobs to a request, an answer to outcomes.

    `authorization` is the value of that header. `read` gives one outcome per push, in order; Split only where several
    pushes were refused together and none was named. Pushes of jobs of one `batch_key` go into one request as long as
    their `variant` is the same.
    """

    batch_limit: int

    def batch_key(self, job: Job) -> Hashable: ...

    def variant(self, push: Push) -> Hashable: ...

    def refuse(self, push: Push) -> Outcome | None: ...

    def build(self, pushes: Sequence[Push], authorization: str, now: datetime) -> Request: ...

    def read(self, pushes: Sequence[Push], answer: Response, now: datetime) -> list[Outcome]: ...


class CallbackInbox(Protocol):
    """Takes callbacks for good."""

    def accept_all(self, letters: Sequence[Letter]) -> list[Receipt | StoreUnavailable]:
        """What became of each, in their order; StoreUnavailable, StoreFull for one, where it may not be stored.

        Raises StoreUnavailable where that is so for all of them.
        """
        ...

    def accept(self, message: OfflineMessage, callback_id: str) -> Receipt:
        """One by itself. Raises StoreUnavailable."""
        (receipt,) = self.accept_all([Letter(message, callback_id)])
        if isinstance(receipt, StoreUnavailable):
            raise receipt
        return receipt


class DeviceRegistry(Protocol):
    """The devices that signed-in users registered. Raises StoreUnavailable."""

    def register(self, device: Device) -> Registered: ...

    def devices_of(self, app: str, account: str) -> list[Device]: ...

    def remove(self, app: str, account: str, device_id: str) -> bool: ...


class PreferenceBook(Protocol):
    """What users ask of their alerts. Raises StoreUnavailable. See store/users/preferences.py."""

    def read(self, app: str, account: str) -> tuple[Preferences, str]: ...

    def write(self, app: str, account: str, preferences: Preferences, expected: str | None) -> str | None: ...


class AlertHistory(Protocol):
    """How messages ended for an account. Raises StoreUnavailable. See store/queue/history.py."""

    def of_account(self, app: str, account: str, since: datetime, most: int) -> list[Noted]: ...


class Unread(Protocol):
    """The messages that users have not read. Raises StoreUnavailable. See store/users/unread.py."""

    def clear(
        self, app: str, account: str, conversation: str, now: datetime, jobs: Sequence[tuple[Lane, Job]]
    ) -> int: ...


class BlockList(Protocol):
    """Accounts and sessions that may do nothing any more. Raises StoreUnavailable. See store/users/blocks.py."""

    def is_blocked(self, account: str, session_id: str | None) -> bool: ...

    def block(self, account: str) -> None: ...

    def unblock(self, account: str) -> None: ...

    def block_session(self, session_id: str, life: timedelta) -> None: ...


class BlockMarks(BlockList, Protocol):
    """The same, as the built-in accounts are kept in step with it."""

    def blocked_among(self, accounts: Sequence[str]) -> set[str]: ...


class Admission(Protocol):
    """May a caller go on: rate limits, blocks, ended sessions. Raises StoreUnavailable. See store/users/admission.py.

    Calls by address are counted in the process first, and with the store in the next round trip that there is.
    """

    def count(self, address: Budget) -> Exceeded | None:
        """Counts a call in this process alone. Asks no store, raises nothing."""

    def spend(self, budgets: Sequence[Budget], address: Budget | None) -> Exceeded | None:
        """Counts one call against each budget, and hands what was counted for the address to the store."""

    def admit(
        self,
        account: str,
        session_id: str | None,
        app: str | None,
        budget: Budget | None = None,
        address: Budget | None = None,
        api_key: str | None = None,
        quota: "QuotaRequest | None" = None,
    ) -> "Admitted | Blocked | Exceeded | QuotaSpent":
        """For a proved caller: counts the call, and lifts the "unknown account" marks, which this shows to be in use.

        `app` is the section that the proof is good for, None: any. `api_key` is the hash of the one that proves a
        service; where it was revoked, the service is blocked. An address that must be counted is one that `count`
        has seen. Where the counters alone are away, the user is admitted. From `quota` nothing is taken for a caller
        who may not go on.
        """

    def has_signed_in(self, account: str, network: str) -> bool:
        """Did the account sign in from this network before?"""

    def remember_sign_in(self, account: str, network: str) -> None:
        """The account signed in from this network. Raises nothing: where the store is away it is not remembered."""


class ApiKeys(Protocol):
    """The API keys of the developer's own servers. Raises StoreUnavailable. See store/users/api_keys.py."""

    def find(self, bearer: str, now: datetime) -> "ApiKey | None":
        """The key whose bearer this is, which is used now; None: it is unknown, or revoked.

        What it may do never changes. That it is still there is for Admission to say.
        """


class Idempotency(Protocol):
    """Calls that may be repeated and are made once, see domain/idempotency.py and store/users/idempotency.py.

    What ends a call raises nothing and says whether it was written. Where it was not, the call counts as cut off.
    """

    def begin(self, call: "Call", now: datetime, lease: timedelta) -> "Found":
        """Marks the call before it leaves; `lease` is as long as it may take at most.

        Raises StoreUnavailable: the call must not leave. A repeat of it may be told then that it may have been sent.
        """

    def end(self, begun: "Begun", answer: "Answered") -> bool:
        """There is an answer, which all repeats get."""

    def cut_off(self, begun: "Begun") -> bool:
        """There will be no answer, and the call may have been carried out: it is never made again."""

    def abandon(self, begun: "Begun") -> bool:
        """Nothing has left: the key is free again."""


class Quotas(Protocol):
    """What MIMC takes from an app, see domain/quotas.py. Raises StoreUnavailable. See store/users/quotas.py."""

    def take(self, request: "QuotaRequest", now: datetime) -> "QuotaSpent | None":
        """None: the messages may leave, else nothing was taken."""


class TokenService(Protocol):
    """MIMC's TokenService. The answer is theirs, untouched; TransportFailure where there was none, Paused where it was
    not asked."""

    def issue(self, app: str, account: str) -> Response | TransportFailure | Paused: ...


class StoreMetrics(Protocol):
    """The store's own numbers: lengths, ages, pauses, dead letters. Raises StoreUnavailable."""

    def read(self) -> list[Metric]: ...


class HealthCheck(Protocol):
    def check(self) -> Health: ...


class DeadLetters(Protocol):
    """The dead letters. Raises StoreUnavailable. See store/queue/dead_letters.py."""

    def has(self, letter: DeadLetter) -> bool: ...

    def whole(self, letter: DeadLetter) -> Job | OfflineMessage | Forward | Entry | None: ...

    def put_back(
        self, letter: DeadLetter, subject: Job | OfflineMessage | Forward | Entry, lane: Lane | None
    ) -> PutBack: ...

    def drop(self, letter: DeadLetter) -> bool: ...


class Transport(Protocol):
    """Carries requests to one provider. Nothing waits inside: what cannot leave comes back as a TransportFailure."""

    async def reserve(self, most: int) -> int:
        """Wait until at least one request may leave now, and take up to `most` places; returns how many."""

    def reserve_free(self, most: int) -> int:
        """Take up to `most` places that are free now, none where another caller waits; returns how many."""

    def give_back(self, places: int) -> None:
        """These places were reserved and are not used."""

    def send(self, request: Request, leave_by: float) -> "asyncio.Future[Response | TransportFailure]":
        """Use one reserved place, which is free again once the future is done. Never raises, never waits.

        After `leave_by` (monotonic seconds) the request does not leave any more.
        """


class Authorization(Protocol):
    """The value of a provider's authorization header."""

    async def current(self) -> str: ...

    async def renew(self, refused: str) -> bool: ...

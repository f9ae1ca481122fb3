"""What a provider's answer means for one job. Closed: the type checker finds a missing case."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto


@dataclass(frozen=True)
class Accepted:
    """The provider took it on, which is not delivered: no provider reports that."""


@dataclass(frozen=True)
class Unregistered:
    """The push token is dead since then; None: since before this push."""

    since: datetime | None


@dataclass(frozen=True)
class Misaddressed:
    """The push token does not fit the app or the environment: noted on the registration, which stays."""

    reason: str


@dataclass(frozen=True)
class UnknownAccount:
    """The provider knows no device of this account."""


@dataclass(frozen=True)
class Rejected:
    """This job can never be accepted as it is."""

    reason: str


@dataclass(frozen=True)
class Impossible:
    """The account cannot be a target of this provider: nothing is wrong with the job, and nothing can be done."""

    reason: str


class About(Enum):
    """Whom an answer is about."""

    JOB = auto()
    DEVICE = auto()  # every push for this device would fare the same
    PROVIDER = auto()  # every push of the lane may fare the same


@dataclass(frozen=True)
class Deferred:
    """Another time. `counts` is False where the provider never saw the push.

    `unanswered`: it may have been taken on, and only the answer is missing.
    """

    reason: str
    retry_after: timedelta = timedelta(0)
    counts: bool = True
    about: About = About.PROVIDER
    unanswered: bool = False


@dataclass(frozen=True)
class CredentialsExpired:
    """Our provider token is too old: make a new one and repeat once."""


@dataclass(frozen=True)
class OurFault:
    """Wrong key, quota, configuration: every job of the lane would fare the same. `until`: no sooner than that."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class Split:
    """The batch was refused without naming a culprit: repeat it in halves. Never for a single job."""

    reason: str


Outcome = (
    Accepted
    | Unregistered
    | Misaddressed
    | UnknownAccount
    | Rejected
    | Impossible
    | Deferred
    | CredentialsExpired
    | OurFault
    | Split
)

"""MiPush's `code`s and what each means for a push.

Source: Xiaomi push server documentation, error codes (2024-10-18), with codes seen since; names are ours, because their
`reason` and `description` are prose that changes.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, auto

from proxy.domain.outcomes import (
    About,
    Deferred,
    Misaddressed,
    OurFault,
    Outcome,
    Rejected,
    Split,
    UnknownAccount,
    Unregistered,
)

# no daylight saving since 1991, so no time zone database is needed
_CHINA = timezone(timedelta(hours=8))
_SLOW_DOWN = timedelta(seconds=5)
_UNKNOWN_WAIT = timedelta(minutes=1)


class Meaning(Enum):
    """What a code says, and about whom."""

    TROUBLE = auto()  # theirs, and of the moment
    TOO_FAST = auto()  # too many requests just now
    SPENT = auto()  # today's allowance
    CONFIG = auto()  # secret, package, channel: every job of the lane would fare the same
    BAD_MESSAGE = auto()  # what all targets of the request share
    BAD_REQUEST = auto()  # the message or one of its targets: they do not say which
    BAD_TARGET = auto()  # a target, which is not proof that it is dead
    NO_TARGET = auto()  # none of the targets is known
    DEAD_TARGET = auto()  # a regId that is gone
    FOREIGN = auto()  # of endpoints that we never call


# what an operator can mend names its setting
_M = Meaning
_CODES: Mapping[int, tuple[Meaning, str]] = {
    -1: (_M.TROUBLE, "unknown error"),
    1: (_M.TROUBLE, "internal error"),
    10001: (_M.TROUBLE, "system error"),
    10002: (_M.TROUBLE, "busy"),
    10003: (_M.TROUBLE, "remote service"),
    10009: (_M.TROUBLE, "busy"),
    10037: (_M.TROUBLE, "request out of time"),  # their clock or ours; the repeat carries the time anew
    20607: (_M.TROUBLE, "database"),
    26003: (_M.TROUBLE, "internal push call"),
    65029: (_M.TROUBLE, "remote error"),
    10004: (_M.TOO_FAST, "ip limit"),
    10022: (_M.TOO_FAST, "too many requests"),
    10023: (_M.TOO_FAST, "too many requests"),
    10024: (_M.TOO_FAST, "too many requests"),
    10027: (_M.TOO_FAST, "calls too frequent"),
    10028: (_M.TOO_FAST, "too many requests"),
    200002: (_M.TOO_FAST, "over qps"),
    10034: (_M.SPENT, "too many today"),
    200001: (_M.SPENT, "over the daily total"),
    10020: (_M.CONFIG, "no such interface"),
    10026: (_M.CONFIG, "app blacklisted"),
    10031: (_M.CONFIG, "app blacklisted"),
    10036: (_M.CONFIG, "operation forbidden"),
    21301: (_M.CONFIG, "authentication failed, see app_secret"),
    21302: (_M.CONFIG, "authentication failed, see app_secret"),
    21303: (_M.CONFIG, "restricted request"),
    22000: (_M.CONFIG, "illegal app"),
    22006: (_M.CONFIG, "illegal app id"),
    22007: (_M.CONFIG, "illegal app key"),
    22022: (_M.CONFIG, "illegal package name, see package"),
    27001: (_M.CONFIG, "channel mismatch, see channel_id"),
    10025: (_M.BAD_MESSAGE, "illegal callback url"),
    10041: (_M.BAD_MESSAGE, "title or description"),
    22100: (_M.BAD_MESSAGE, "notification format"),
    22101: (_M.BAD_MESSAGE, "notification count"),
    22102: (_M.BAD_MESSAGE, "notification send"),
    22103: (_M.BAD_MESSAGE, "notification id"),
    65009: (_M.BAD_MESSAGE, "content too long"),
    65014: (_M.BAD_MESSAGE, "too many extras"),
    65015: (_M.BAD_MESSAGE, "extras too long"),
    65036: (_M.BAD_MESSAGE, "callback param too long"),
    65037: (_M.BAD_MESSAGE, "callback url"),
    65038: (_M.BAD_MESSAGE, "callback url"),
    100: (_M.BAD_REQUEST, "blank parameter"),
    10008: (_M.BAD_REQUEST, "parameter error"),
    10012: (_M.BAD_REQUEST, "illegal request"),
    10016: (_M.BAD_REQUEST, "missing parameter"),
    10017: (_M.BAD_REQUEST, "illegal parameter"),
    10018: (_M.BAD_REQUEST, "request too long"),
    21305: (_M.BAD_REQUEST, "missing parameter"),
    65008: (_M.BAD_REQUEST, "alias too long"),
    65011: (_M.BAD_REQUEST, "illegal parameter"),
    65012: (_M.BAD_REQUEST, "empty parameter"),
    65016: (_M.BAD_REQUEST, "empty parameter"),
    65017: (_M.BAD_REQUEST, "account too long"),
    10029: (_M.BAD_TARGET, "illegal device"),
    65003: (_M.BAD_TARGET, "device not found"),
    20301: (_M.NO_TARGET, "no valid targets"),
    66007: (_M.DEAD_TARGET, "bad regid"),
    10030: (_M.FOREIGN, "polling too often"),
    10032: (_M.FOREIGN, "polling too often"),
    10033: (_M.FOREIGN, "polling"),
    10035: (_M.FOREIGN, "nothing left"),
    10038: (_M.FOREIGN, "no right to statistics"),
    10039: (_M.FOREIGN, "statistics too often"),
    20209: (_M.FOREIGN, "topic"),
    20215: (_M.FOREIGN, "topic"),
    20216: (_M.FOREIGN, "topic"),
    20315: (_M.FOREIGN, "topic"),
    26004: (_M.FOREIGN, "broadcast too often"),
    26005: (_M.FOREIGN, "account set too often"),
    26006: (_M.FOREIGN, "broadcast needs review"),
    65006: (_M.FOREIGN, "alias set too often"),
    65007: (_M.FOREIGN, "alias blacklisted"),
    65010: (_M.FOREIGN, "broadcast"),
    65013: (_M.FOREIGN, "broadcast"),
    65028: (_M.FOREIGN, "no such message"),
    65035: (_M.FOREIGN, "broadcast"),
}


def outcome_of(code: int, *, several: bool, by_account: bool, now: datetime) -> Outcome:
    """What a `code` other than 0 means for each push of the request.

    `several`: the request had more than one target; `by_account`: they are accounts, not regIds. Never empties a
    registry on its own: a wrong secret is answered "no valid targets" too.
    """
    meaning, name = _CODES.get(code, (Meaning.FOREIGN, "unknown"))
    reason = f"code {code} {name}"[:60]  # an unknown code may have thousands of digits
    match meaning:
        case Meaning.TROUBLE:
            return Deferred(reason)
        case Meaning.TOO_FAST:
            return Deferred(reason, _SLOW_DOWN)
        case Meaning.SPENT:
            return OurFault(reason, next_day_in_china(now))
        case Meaning.CONFIG:
            return OurFault(reason)
        case Meaning.BAD_MESSAGE:
            return Rejected(reason)
        case Meaning.FOREIGN:  # seen for the first time: neither hammer them nor lose the alert
            return Deferred(reason, _UNKNOWN_WAIT, about=About.JOB)
        case _ if several:
            return Split(reason)
        case Meaning.BAD_REQUEST:
            return Rejected(reason)
        case Meaning.BAD_TARGET:
            return Misaddressed(reason)
        case Meaning.NO_TARGET:
            return UnknownAccount() if by_account else Misaddressed(reason)
        case Meaning.DEAD_TARGET:
            return UnknownAccount() if by_account else Unregistered(None)


def next_day_in_china(now: datetime) -> datetime:
    """The next midnight in China as aware UTC: when the daily allowances are taken to start anew."""
    tomorrow = now.astimezone(_CHINA) + timedelta(days=1)
    midnight = tomorrow.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.astimezone(UTC)

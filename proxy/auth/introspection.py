"""Opaque sessions: what the caller shows is passed on to a URL of the developer's own, which names its user.

`whoami`: the Authorization header, else the named cookies, go there as they came; the JSON answer holds the account.
`rfc7662`: an OAuth authorization server is asked about the bearer (RFC 7662, OAuth 2.0 Token Introspection).
"""

import re
import threading
import time
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlencode

from proxy.auth.credentials import Authenticated, Credentials, Refused, Unavailable
from proxy.auth.introspection_answer import Verdict, judge
from proxy.auth.introspection_client import TIMED_OUT, IntrospectionClient, Question
from proxy.auth.single_flight import CachedAnswer, Clock, SingleFlight
from proxy.settings import IntrospectionSettings

UNREADABLE = Refused("cannot be passed on")
AMBIGUOUS = Refused("a cookie came twice")
RESTING = Unavailable("resting after time-outs")

_MOST_PROOF = 8000  # servers stop at 8190 bytes of a header's line
_MOST_REMEMBERED = 20_000
_TIMEOUTS_IN_A_ROW = 3
_REST_S = 1.0
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_COOKIE_VALUE = re.compile(r"[\x20\x21\x23-\x3a\x3c-\x5b\x5d-\x7e]*")  # wider than RFC 6265, 4.1.1: no " ; \


class Introspection:
    """Implements auth.credentials.Backend. Safe to share between threads; `clock` is monotonic, in seconds."""

    def __init__(self, settings: IntrospectionSettings, clock: Clock = time.monotonic) -> None:
        self._settings = settings
        self._answers = SingleFlight[Verdict](_MOST_REMEMBERED, settings.timeout.total_seconds(), TIMED_OUT, clock)
        self._client = IntrospectionClient(settings)
        self._rest = _Rest(clock)

    def authenticate(self, credentials: Credentials) -> Verdict | None:
        rfc7662 = self._settings.style == "rfc7662"
        question = _about_bearer(credentials) if rfc7662 else self._passed_on(credentials)
        if not isinstance(question, Question):
            return question
        key = question.key()
        known = self._answers.known(key)
        if known is not None:
            return known
        credentials.before_asking()
        return self._answers.get(key, partial(self._ask, question))

    def _passed_on(self, credentials: Credentials) -> Question | Refused | None:
        """The header or the cookies, never both: it must be known which of them was the proof."""
        shown = (credentials.authorization or "").strip(" \t")
        if shown and self._settings.pass_authorization:
            return _question("Authorization", shown) if _PRINTABLE.fullmatch(shown) else UNREADABLE
        if credentials.ambiguous.intersection(self._settings.cookies):
            return AMBIGUOUS
        cookies = {name: credentials.cookies[name] for name in self._settings.cookies if credentials.cookies.get(name)}
        if not cookies:
            return None
        if not all(_COOKIE_VALUE.fullmatch(value) for value in cookies.values()):
            return UNREADABLE
        return _question("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items()))

    def _ask(self, question: Question) -> CachedAnswer[Verdict]:
        if self._rest.is_on():
            return CachedAnswer(RESTING, 0)
        answer = self._client.send(question)
        self._rest.note(timed_out=answer == TIMED_OUT)
        if isinstance(answer, Unavailable):
            return CachedAnswer(answer, 0)
        verdict, expires_at = judge(self._settings, *answer, by_cookie="Cookie" in question.headers)
        match verdict:
            case Authenticated():
                return CachedAnswer(verdict, self._life_s(expires_at), "users")
            case Refused():
                return CachedAnswer(verdict, self._settings.negative_cache.total_seconds(), "refusals")
            case Unavailable():
                return CachedAnswer(verdict, 0)

    def _life_s(self, expires_at: float | None) -> float:
        """RFC 7662, 4: an answer is not kept beyond the token's `exp`."""
        most = self._settings.cache.total_seconds()
        if expires_at is None:
            return most
        return min(most, expires_at - datetime.now(UTC).timestamp())


class _Rest:
    """After some time-outs in a row one question a second goes out: a URL that hangs would hold every thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._until = 0.0

    def is_on(self) -> bool:
        with self._lock:
            if self._in_a_row < _TIMEOUTS_IN_A_ROW:
                return False
            if self._clock() < self._until:
                return True
            self._until = self._clock() + _REST_S  # this one goes and looks
            return False

    def note(self, *, timed_out: bool) -> None:
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if timed_out else 0
            self._until = self._clock() + _REST_S


def _question(header: str, value: str) -> Question | Refused:
    return Question({header: value}) if len(value) <= _MOST_PROOF else UNREADABLE


def _about_bearer(credentials: Credentials) -> Question | Refused | None:
    """RFC 7662, 2.1."""
    bearer = credentials.bearer()
    if bearer is None:
        return None
    if len(bearer) > _MOST_PROOF:
        return UNREADABLE
    form = urlencode({"token": bearer, "token_type_hint": "access_token"})
    return Question({"Content-Type": "application/x-www-form-urlencoded"}, form.encode())

"""Which of MIMC's answers may be passed on to a client: one that we can read, and that repeats none of our secrets."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from proxy.curl import parse_head
from proxy.domain.transfers import FailureKind, Response, TransportFailure
from proxy.mimc.connection import ENCODED, Answer
from proxy.mimc.echo import Echo, EchoGuard
from proxy.mimc.token_answer import SUCCESS, code_of
from proxy.settings import AppSettings

REPEATS_US = "answer repeats our credentials"

_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5
_READABLE = {"content-encoding": ("", "identity"), "transfer-encoding": ("", "identity", "chunked")}


def unnoticed(app: str, echo: Echo) -> None:
    """No listener."""


class Passable:
    """Knows the secrets of every app.

    `on_echo` is called with the section, and where its key or secret was, for each answer that repeats them.
    """

    def __init__(
        self,
        apps: Mapping[str, AppSettings],
        echo_guard: Literal["refuse", "report"],
        on_echo: Callable[[str, Echo], None] = unnoticed,
    ) -> None:
        self._guards = {name: EchoGuard(_secrets_of(app)) for name, app in apps.items()}
        self._refuses = echo_guard == "refuse"
        self._on_echo = on_echo

    def checked(
        self, app: str, answer: Answer | TransportFailure, *, tells_of_users: bool = False
    ) -> Response | TransportFailure:
        """The answer as it came. One that repeats our appKey or appSecret, as error pages of gateways repeat requests,
        is none: the client would read it. The user's own security key is passed on whatever it holds.

        `tells_of_users`: a success holds what users wrote. Who knows our appKey, which apps used to show, could write
        it into a group, and no member could read there any more.
        """
        if isinstance(answer, TransportFailure):
            return answer
        if not all(map(_is_readable, answer.head)):
            return TransportFailure(ENCODED, FailureKind.WITHHELD)
        passed = Response(answer.status, _headers(answer.head), answer.body)
        is_theirs = tells_of_users and answer.status < 400 and code_of(passed) == SUCCESS
        echo = self._guards[app].find(answer.head, b"" if is_theirs else answer.body)
        if echo is not None:
            self._on_echo(app, echo)
        if echo is Echo.ANSWER and self._refuses:
            return TransportFailure(REPEATS_US, FailureKind.WITHHELD)
        return passed


def _headers(head: Iterable[bytes]) -> dict[str, str]:
    """Those that may be passed on."""
    return {name: value for name, value in parse_head(head).items() if _FIELD_VALUE.fullmatch(value)}


def _secrets_of(app: AppSettings) -> Iterable[str]:
    return app.app_key.get_secret_value(), app.app_secret.get_secret_value()


def _is_readable(line: bytes) -> bool:
    """Does this header leave the body as it is? Another encoding could hide what is in it."""
    if b"-encoding" not in line.lower():
        return True
    name, _, value = line.decode("latin-1").partition(":")
    allowed = _READABLE.get(name.strip().lower())
    return allowed is None or value.strip().lower() in allowed

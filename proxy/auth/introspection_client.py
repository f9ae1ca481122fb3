"""The way to the developer's URL. Every answer is one of HTTP or a reason for its absence; nothing is raised."""

import base64
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import quote

import requests
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TookTooLong
from urllib3.util import Timeout

from proxy.auth.bounded_http import AnswerTooLong, read_body, session_for
from proxy.auth.credentials import Unavailable
from proxy.settings import IntrospectionSettings

TIMED_OUT = Unavailable("timed out")
NO_CONNECTION = Unavailable("no connection")
TOO_LONG = Unavailable("answer too long")

_MOST = 64 * 1024
_LEAST_TRY_S = 0.05
# Accept: Laravel answers a stranger 401 then, and not by a redirect
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "mimc-app-proxy"}


@dataclass(frozen=True)
class Question:
    """What is sent, beside what every question has in common."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    def key(self) -> bytes:
        """Two questions have one key if they are the same."""
        return json.dumps([list(self.headers.items()), self.body.decode()]).encode()


class IntrospectionClient:
    """A session, and so its kept connections, per thread."""

    def __init__(self, settings: IntrospectionSettings) -> None:
        self._settings = settings
        self._method = "POST" if settings.style == "rfc7662" else settings.method
        self._mine = threading.local()

    def send(self, question: Question) -> tuple[int, bytes] | Unavailable:
        """Status and body of the answer that came within `timeout`. A redirect is an answer, and not followed."""
        deadline = time.monotonic() + self._settings.timeout.total_seconds()
        answer = self._try(question, deadline)
        if answer == NO_CONNECTION and deadline - time.monotonic() >= _LEAST_TRY_S:
            return self._try(question, deadline)  # it was a kept one that the server had just closed
        return answer

    def _try(self, question: Question, deadline: float) -> tuple[int, bytes] | Unavailable:
        try:
            with self._session().request(
                self._method,
                self._settings.url,
                headers=dict(question.headers),
                data=question.body or None,
                # requests hands urllib3's own kind on, which its types do not know
                timeout=Timeout(total=max(deadline - time.monotonic(), _LEAST_TRY_S)),  # type: ignore[arg-type]
                allow_redirects=False,
                stream=True,
            ) as response:
                return response.status_code, read_body(response, _MOST, deadline)
        except AnswerTooLong:
            return TOO_LONG
        except (requests.Timeout, TookTooLong):
            return TIMED_OUT
        except (requests.RequestException, HTTPError, OSError):
            return NO_CONNECTION

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._mine, "session", None)
        if session is None:
            session = self._mine.session = _session(self._settings)
        return session


def _session(settings: IntrospectionSettings) -> requests.Session:
    """No memory: one user's Set-Cookie must not go out with another's question."""
    session = session_for(settings.ca_file)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.clear()
    session.headers.update(_HEADERS)
    if settings.client_secret is not None:
        session.headers["Authorization"] = _basic(settings.client_id, settings.client_secret.get_secret_value())
    return session


def _basic(client_id: str, client_secret: str) -> str:
    """RFC 6749, 2.3.1: both are form-encoded before they are joined; a space as %20, which every decoder reads."""
    joined = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}"
    return "Basic " + base64.b64encode(joined.encode()).decode()

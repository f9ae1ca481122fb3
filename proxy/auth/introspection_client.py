"""The way to the developer's URL. Every answer is one of HTTP or a reason for its absence; nothing is raised."""

import base64
import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import quote

import certifi
import requests
from urllib3 import connection_from_url
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as TookTooLong
from urllib3.util import Timeout, parse_url

from proxy.auth.bounded_http import AnswerTooLong, read_body
from proxy.auth.credentials import Unavailable
from proxy.settings import IntrospectionSettings

TIMED_OUT = Unavailable("timed out")
NO_CONNECTION = Unavailable("no connection")
TOO_LONG = Unavailable("answer too long")

_MOST = 64 * 1024
_LEAST_TRY_S = 0.05
_MOST_KEPT = 256  # as many as a web process may have threads for clients' calls
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
    """A pool of kept connections for all threads, without cookies: one user's must not go out with another's question.

    urllib3 itself, for requests around it would cost 235 us of CPU a question and not 86: strangers with made-up
    bearers ask many.
    """

    def __init__(self, settings: IntrospectionSettings) -> None:
        self._timeout_s = settings.timeout.total_seconds()
        self._method = "POST" if settings.style == "rfc7662" else settings.method
        self._target = parse_url(settings.url).request_uri
        self._headers = dict(_HEADERS)
        if settings.client_secret is not None:
            self._headers["Authorization"] = _basic(settings.client_id, settings.client_secret.get_secret_value())
        trusted = {"ca_certs": str(settings.ca_file or certifi.where())} if settings.url.startswith("https:") else {}
        self._pool = connection_from_url(settings.url, maxsize=_MOST_KEPT, **trusted)

    def send(self, question: Question) -> tuple[int, bytes] | Unavailable:
        """Status and body of the answer that came within `timeout`. A redirect is an answer, and not followed."""
        deadline = time.monotonic() + self._timeout_s
        answer = self._try(question, deadline)
        if answer == NO_CONNECTION and deadline - time.monotonic() >= _LEAST_TRY_S:
            return self._try(question, deadline)  # it was a kept one that the server had just closed
        return answer

    def _try(self, question: Question, deadline: float) -> tuple[int, bytes] | Unavailable:
        try:
            with closing(
                self._pool.urlopen(
                    self._method,
                    self._target,
                    body=question.body or None,
                    headers={**self._headers, **question.headers},
                    timeout=Timeout(total=max(deadline - time.monotonic(), _LEAST_TRY_S)),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                )
            ) as response:
                return response.status, read_body(response, _MOST, deadline)
        except AnswerTooLong:
            return TOO_LONG
        except NewConnectionError:  # which urllib3 counts among those that took too long
            return NO_CONNECTION
        except (requests.Timeout, TookTooLong):
            return TIMED_OUT
        except (requests.RequestException, HTTPError, OSError):
            return NO_CONNECTION


def _basic(client_id: str, client_secret: str) -> str:
    """RFC 6749, 2.3.1: both are form-encoded before they are joined; a space as %20, which every decoder reads."""
    joined = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}"
    return "Basic " + base64.b64encode(joined.encode()).decode()

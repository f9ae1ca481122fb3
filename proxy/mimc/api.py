"""MIMC's API for users and services: each call leaves with the right credentials, and never twice where it matters."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

import pycurl

from proxy.domain.transfers import FailureKind, Paused, Prevented, Response, TransportFailure
from proxy.mimc.api_request import ApiRequest, Prepared, with_credentials
from proxy.mimc.calls import Proof
from proxy.mimc.connection import HEADERS, Connection, Limits, PerThread
from proxy.mimc.passable import Passable
from proxy.mimc.token_answer import code_of, is_refusal
from proxy.mimc.user_tokens import UserToken, UserTokens
from proxy.settings import AppSettings

_MOST = 4 * 1024 * 1024  # of an answer: a day of history
_NO_TOKEN_TAKEN = (401, 403)

Answered = Response | TransportFailure
Ask = Callable[[], Answered]


class Guard(Protocol):
    """The breaker towards MIMC, see usecases/guarded_mimc.py."""

    def through(self, app: str, caller: str, ask: Ask, is_there: Callable[[Response], bool]) -> Answered | Paused: ...


class MimcApi:
    """Safe to share between threads."""

    def __init__(
        self, apps: Mapping[str, AppSettings], limits: Limits, passable: Passable, users: UserTokens, guard: Guard
    ) -> None:
        self._apps, self._limits, self._passable = apps, limits, passable
        self._users, self._guard = users, guard
        self._connections = PerThread(lambda app: Connection(apps[app], _MOST, ()))

    def call(self, app: str, asked: Prepared) -> Answered | Paused:
        """MIMC's answer as it came. `app` names a section.

        A TransportFailure of a change that was `sent` means that MIMC may have done it: no repeat of ours follows.
        """
        if asked.is_service or asked.call.proof is Proof.BODY:
            return self._send(app, asked, None)
        token = self._users.of(app, asked.account)
        if not isinstance(token, UserToken):
            return _without_a_token(token)
        answer = self._send(app, asked, token)
        if not is_refusal(answer):
            return answer
        self._users.drop(app, asked.account, token)
        if token.is_new or (asked.call.changes and not _has_done_nothing(answer)):
            return answer
        newer = self._users.of(app, asked.account)
        return self._send(app, asked, newer) if isinstance(newer, UserToken) else answer

    def _send(self, app: str, asked: Prepared, token: UserToken | None) -> Answered | Paused:
        request = with_credentials(asked, self._apps[app], token.text if token else None)
        prepare = partial(_prepare, self._apps[app].base_url, request, changes=asked.call.changes)
        tells_of_users = asked.call.proof is not Proof.BODY

        def ask() -> Answered:
            answer = self._connections.of(app).exchange(prepare, self._limits)
            return self._passable.checked(app, answer, tells_of_users=tells_of_users)

        return self._guard.through(app, asked.account, ask, _is_there)


def _is_there(answer: Response) -> bool:
    """A refusal of MIMC's own may come with any status: no text says with which."""
    return answer.status < 500 or code_of(answer) is not None


def _without_a_token(answer: Answered | Paused) -> Answered | Paused:
    """Of the call itself nothing has left, whatever became of the token call."""
    match answer:
        case Response(status, headers, body):
            return Prevented(status, headers, body)
        case TransportFailure():
            return replace(answer, kind=FailureKind.NOT_SENT)
        case _:
            return answer


def _has_done_nothing(answer: Answered | Paused) -> bool:
    return isinstance(answer, Response) and answer.status in _NO_TOKEN_TAKEN


def _prepare(base_url: str, request: ApiRequest, curl: pycurl.Curl, *, changes: bool) -> None:
    """libcurl repeats a request on a dead kept connection by itself. It cannot where part of the body has left and
    there is no way back in it: so a body is read once. A change without one goes over a connection of its own.
    """
    curl.setopt(pycurl.URL, base_url + request.target)
    curl.setopt(pycurl.HTTPHEADER, [*request.headers, *HEADERS])
    if request.body is None:
        curl.setopt(pycurl.HTTPGET, 1)
    else:
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(request.body))
        curl.setopt(pycurl.READFUNCTION, io.BytesIO(request.body).read)
    curl.setopt(pycurl.CUSTOMREQUEST, request.method)
    curl.setopt(pycurl.FRESH_CONNECT, int(changes and not request.body))

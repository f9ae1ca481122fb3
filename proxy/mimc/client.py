"""MIMC's TokenService. One call of ours reaches it at most twice (connection.py).

Source: MIMC operation manual, POST /api/account/token.
"""

import json
from collections.abc import Mapping
from functools import partial

import pycurl

from proxy.domain.transfers import Response, TransportFailure
from proxy.mimc.connection import HEADERS, Connection, Limits, PerThread
from proxy.mimc.passable import Passable
from proxy.settings import AppSettings, TokenSettings

_MOST = 256 * 1024
_PATH = "/api/account/token"


class TokenClient:
    """The TokenService of every configured app. Safe to share between threads."""

    def __init__(self, apps: Mapping[str, AppSettings], limits: TokenSettings, passable: Passable) -> None:
        self._apps = apps
        self._passable = passable
        self._limits = limits_of(limits)
        self._connections = PerThread(lambda app: Connection(apps[app], _MOST, _options(apps[app])))

    def issue(self, app: str, account: str) -> Response | TransportFailure:
        """Ask for the token of `account`. `app` names a section. Ends within the limits' `timeout`.

        The answer is whatever HTTP answer came, if it is passable. The reason of a TransportFailure is of a closed set
        of words.
        """
        body = partial(_set_body, _request_body(self._apps[app], account))
        return self._passable.checked(app, self._connections.of(app).exchange(body, self._limits))


def limits_of(settings: TokenSettings) -> Limits:
    return Limits(settings.timeout.total_seconds(), settings.connect_timeout.total_seconds())


def _set_body(body: bytes, curl: pycurl.Curl) -> None:
    curl.setopt(pycurl.POSTFIELDS, body)


def _request_body(app: AppSettings, account: str) -> bytes:
    region = {"regionKey": app.region_key} if app.region_key else {}
    return json.dumps(
        {
            "appId": app.app_id,
            "appKey": app.app_key.get_secret_value(),
            "appSecret": app.app_secret.get_secret_value(),
            "appAccount": account,
            **region,
        }
    ).encode()


def _options(app: AppSettings) -> list[tuple[int, object]]:
    return [
        (pycurl.URL, app.base_url + _PATH),
        (pycurl.POST, 1),
        (pycurl.HTTPHEADER, ["Content-Type: application/json", "Accept:", *HEADERS]),
    ]

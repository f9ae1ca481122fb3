"""The apps on the demo's phones: each registers its push address with its user's bearer, as real apps do."""

import time

import jwt
import requests

from proxy.local.processes import APP, DemoEnvironment

_BEARER_LIFE_S = 3600


class PhoneApps:
    """What was registered can be registered again: by an app that its user opens once more."""

    def __init__(self, environment: DemoEnvironment) -> None:
        self._environment = environment
        self._http = requests.Session()
        self._http.trust_env = False
        self._registered: dict[str, tuple[str, dict[str, str]]] = {}

    def register(self, account: str, device_id: str, **members: str) -> requests.Response:
        """`members` are those of PUT /api/devices/ID. Raises requests.RequestException."""
        self._registered[device_id] = account, members
        return self._put(device_id)

    def named(self, push_token: str) -> str | None:
        """The phone that registered with it."""
        return next((it for it, (_, of) in self._registered.items() if of.get("push_token") == push_token), None)

    def start_again(self, device_id: str) -> bool:
        """Whether the service took the registration."""
        return self._put(device_id).ok

    def bearer(self, account: str) -> str:
        """What the developer's own system would hand to its signed-in user."""
        now = int(time.time())
        claims = {"sub": account, "iat": now, "exp": now + _BEARER_LIFE_S}
        return jwt.encode(claims, self._environment.jwt_key, algorithm="HS256")

    def as_user(self, account: str) -> dict[str, str]:
        """The headers of a call by this user."""
        return {"Authorization": f"Bearer {self.bearer(account)}"}

    def _put(self, device_id: str) -> requests.Response:
        account, members = self._registered[device_id]
        url = f"{self._environment.web}/api/devices/{device_id}"
        return self._http.put(url, json={"app": APP, **members}, headers=self.as_user(account), timeout=30)

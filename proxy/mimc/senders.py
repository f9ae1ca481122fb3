"""Who may post callbacks: whoever knows an app's URL secret and, where asked for, its appSecret."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from proxy.domain.callbacks import CallbackOrigin
from proxy.errors import RequestRefused
from proxy.mimc.authentication import Authenticity, authentic
from proxy.settings import AppSettings


@dataclass(frozen=True)
class Sender:
    """The section whose URL secret was shown."""

    section: str
    app_id: str
    authentication: Literal["required", "if_present", "ignored"]


class Senders:
    """The URL secrets and appSecrets of all sections."""

    def __init__(self, apps: Mapping[str, AppSettings]) -> None:
        self._senders = [
            (_digest(app.url_secret.get_secret_value()), Sender(name, app.app_id, app.authentication))
            for name, app in apps.items()
        ]
        self._app_secrets = {app.app_id: app.app_secret.get_secret_value() for app in apps.values()}

    def admit(self, url_secret: str) -> Sender:
        """The sender who knows this secret; else 404, as for a path that does not exist.

        Digests of equal length are compared, all of them: the time tells neither length nor place.
        """
        shown, found = _digest(url_secret), None
        for digest, sender in self._senders:
            if hmac.compare_digest(digest, shown):
                found = sender
        if found is None:
            raise RequestRefused(404, "not found")
        return found

    def check(self, sender: Sender, origin: CallbackOrigin) -> None:
        """Refuse a callback for another app (404), or whose `authentication` is wrong or missing (403)."""
        if origin.recipient_app_id is not None and origin.recipient_app_id != sender.app_id:
            raise RequestRefused(404, "not found")
        if sender.authentication == "ignored":
            return
        match authentic(origin, self._app_secrets):
            case Authenticity.INVALID:
                raise RequestRefused(403, "authentication: does not fit")
            case Authenticity.ABSENT if sender.authentication == "required":
                raise RequestRefused(403, "authentication: required")


def _digest(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=32).digest()

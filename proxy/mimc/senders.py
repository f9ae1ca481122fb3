"""Who may post callbacks: a sender that knows an app's URL secret and, where required, its appSecret."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from proxy.domain.callbacks import CallbackOrigin
from proxy.errors import NotAllowed, NotFound
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
        """The sender who knows this secret; else NotFound, as for a path that does not exist.

        Digests of equal length are compared, all of them: the time reveals neither length nor place.
        """
        shown, found = _digest(url_secret), None
        for digest, sender in self._senders:
            if hmac.compare_digest(digest, shown):
                found = sender
        if found is None:
            raise NotFound("not found")
        return found

    def check(self, sender: Sender, origin: CallbackOrigin) -> None:
        """Raises NotFound for a callback of another app, NotAllowed for a wrong or missing `authentication`."""
        if origin.recipient_app_id is not None and origin.recipient_app_id != sender.app_id:
            raise NotFound("not found")
        if sender.authentication == "ignored":
            return
        match authentic(origin, sender.app_id, self._app_secrets[sender.app_id]):
            case Authenticity.INVALID:
                raise NotAllowed("authentication: does not fit")
            case Authenticity.ABSENT if sender.authentication == "required":
                raise NotAllowed("authentication: required")


def _digest(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=32).digest()

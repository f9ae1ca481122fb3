"""The channel `http` in its own words: an alert to a signed request, an answer to an outcome.

docs/channels-http.md is the contract with the developer's sender.
"""

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime

from proxy.channels.common import app_data, retry_after, to_json
from proxy.domain.devices import Device
from proxy.domain.jobs import Job, Push
from proxy.domain.outcomes import (
    Accepted,
    Deferred,
    Impossible,
    OurFault,
    Outcome,
    Rejected,
    UnknownAccount,
    Unregistered,
)
from proxy.domain.times import from_ms
from proxy.domain.transfers import Request, Response
from proxy.domain.words import Vocabulary
from proxy.settings import HttpSettings
from proxy.signatures import signer_of
from proxy.strict_json import object_or_none
from proxy.text import cut, json_bytes

ALERT, WITHDRAWAL, CHECK = "alert", "withdrawal", "check"
# Standard Webhooks asks for bodies under 20 kB
_LONGEST_TITLE, _LONGEST_BODY = 512, 4096
# the scheme gives 410 the meaning "this endpoint wants no more", and a wrong path answers 404: only with this word is
# either about the phone
_GONE = "unregistered"
_BUSY = frozenset({408, 425, 429})
_OF_THIS_ALERT = frozenset({400, 413, 422})


class HttpWire:
    """One app's pushes to the developer's own sender, to accounts or to devices as configured. A `proxy.ports.Wire`."""

    batch_limit = 1

    def __init__(self, settings: HttpSettings, vocabulary: Vocabulary | None = None) -> None:
        """Without a `vocabulary`: our own words, in English."""
        self._vocabulary = vocabulary or Vocabulary()
        self._url, self._by_account = settings.url, settings.by_account
        self._signer = signer_of(settings.all_secrets)

    def batch_key(self, job: Job) -> Hashable:
        """Never the same: a request is about one phone."""
        return job.id

    def variant(self, push: Push) -> Hashable:  # noqa: ARG002  the port's
        """All the same: no two pushes share a request."""
        return None

    def refuse(self, push: Push) -> Outcome | None:
        if (push.device is None) != self._by_account:  # planned before the setting `address` was changed
            return Rejected("address")
        return None if push.address else Impossible("empty address")

    def build(self, pushes: Sequence[Push], authorization: str, now: datetime) -> Request:  # noqa: ARG002  the port's
        """The request for one push; a signature takes the place of `authorization`."""
        (push,) = pushes
        alert, text = push.job.alert, self._vocabulary.say_titled(self._vocabulary.shown(push.text), push.locale)
        whose = {
            "message_id": alert.message_id,
            "app": push.job.app,
            "account": push.job.account,
            **_device(push.device),
            **app_data(alert)["mimc"],
        }
        if alert.update:
            data = {**whose, "reason": str(alert.update), "expires_at": _iso(alert.expires_at)}
            return self._request(push.job.id, {"type": WITHDRAWAL, "timestamp": _iso(now), "data": data}, now)
        event = {
            "type": ALERT,
            "timestamp": _iso(from_ms(alert.order.accepted_at_ms)),
            "data": {
                **whose,
                "kind": text.kind,
                "title": cut(text.title, _LONGEST_TITLE, json_bytes),
                **({"group": cut(text.group, _LONGEST_TITLE, json_bytes)} if text.group else {}),
                "body": cut(text.body, _LONGEST_BODY, json_bytes),
                **({"count": text.count} if text.count else {}),
                **({} if push.badge is None else {"badge": push.badge}),
                "silent": alert.silent,
                "urgent": alert.urgent,
                "expires_at": _iso(alert.expires_at),
            },
        }
        return self._request(push.job.id, event, now)

    def build_check(self, webhook_id: str, now: datetime) -> Request:
        """A request as good as any, about no phone: a sender that works accepts it."""
        return self._request(webhook_id, {"type": CHECK, "timestamp": _iso(now), "data": {}}, now)

    def read(self, pushes: Sequence[Push], answer: Response, now: datetime) -> list[Outcome]:  # noqa: ARG002  the port's
        """What any answer means. Nothing of its body is passed on: it may repeat the push."""
        return [self._outcome(answer) for _ in pushes]

    def _outcome(self, answer: Response) -> Outcome:
        status, plain = answer.status, f"http {answer.status}"
        if 200 <= status < 300:
            return Accepted()
        if status in {404, 410} and _says_gone(answer.body):
            return UnknownAccount() if self._by_account else Unregistered(None)
        if status in _OF_THIS_ALERT:
            return Rejected(plain)
        if status in _BUSY or status >= 500:
            # a gateway that answers 5xx may have passed the alert on before
            return Deferred(plain, retry_after(answer.headers), unanswered=status >= 500)
        return OurFault(plain)  # secret, address, a redirect: a person must look; the jobs wait

    def _request(self, webhook_id: str, event: Mapping[str, object], now: datetime) -> Request:
        body = to_json(event)
        headers = self._signer.request_headers(webhook_id, body, now)
        return Request(self._url.get_secret_value(), headers, body)


def _device(device: Device | None) -> dict[str, object]:
    """Nothing where the account is the address."""
    if device is None:
        return {}
    return {"device": {"id": device.device_id, "push_token": device.push_token, "locale": device.locale}}


def _says_gone(body: bytes) -> bool:
    return (object_or_none(body) or {}).get("reason") == _GONE


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

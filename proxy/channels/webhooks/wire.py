"""A callback for a webhook as a signed request, and what its answer means. docs/webhooks.md is the contract."""

from datetime import UTC, datetime

from proxy.channels.common import retry_after, to_json
from proxy.domain.forwards import Forward
from proxy.domain.outcomes import About, Accepted, Deferred, OurFault
from proxy.domain.transfers import Request, Response
from proxy.domain.webhooks import UNTIL_RESUMED, ForwardOutcome
from proxy.settings import WebhookSettings
from proxy.signatures import signer_of

_BUSY = frozenset({429, 503})
# for what it says: who writes to your users must not be able to pause an endpoint behind a filter
_FOR_ITS_CONTENT = frozenset({400, 406, 409, 413, 415, 422})


class WebhookWire:
    """Of one endpoint."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._url = settings.url
        self._signer = signer_of(settings.all_secrets)

    def build(self, forward: Forward, now: datetime) -> Request:
        return self._request(forward.id, forward.body, now)

    def build_check(self, webhook_id: str, now: datetime) -> Request:
        """About no message: an endpoint that works takes it."""
        moment = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return self._request(webhook_id, to_json({"type": "check", "timestamp": moment, "data": {}}), now)

    def read(self, answer: Response, now: datetime) -> ForwardOutcome:
        """Anything but 2xx has failed, a redirect too. Nothing of its body is passed on: it may repeat the message."""
        reason = f"http {answer.status}"
        if 200 <= answer.status < 300:
            return Accepted()
        if answer.status == 410:  # "this endpoint wants no more" (Standard Webhooks 1.0.0): a person must look
            return OurFault(reason, now + UNTIL_RESUMED)
        if answer.status in _BUSY:
            return Deferred(reason, retry_after(answer.headers))
        return Deferred(reason, about=About.JOB if answer.status in _FOR_ITS_CONTENT else About.PROVIDER)

    def _request(self, webhook_id: str, body: bytes, now: datetime) -> Request:
        headers = self._signer.request_headers(webhook_id, body, now)
        return Request(self._url.get_secret_value(), headers, body)

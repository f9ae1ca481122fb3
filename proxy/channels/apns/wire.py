"""APNs in its own words: a push to a request, an answer to an outcome.

Source: Apple, "Sending notification requests to APNs" and "Handling notification responses from APNs".
"""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from proxy.channels.apns.payload import badge_payload, payload_of, withdrawal_payload
from proxy.channels.common import retry_after
from proxy.domain.alerts import Alert, Update
from proxy.domain.callbacks import digest
from proxy.domain.devices import ApnsEnvironment
from proxy.domain.jobs import Job, Push
from proxy.domain.outcomes import (
    About,
    Accepted,
    CredentialsExpired,
    Deferred,
    Misaddressed,
    OurFault,
    Outcome,
    Rejected,
    Unregistered,
)
from proxy.domain.transfers import Request, Response
from proxy.domain.words import Vocabulary
from proxy.settings import ApnsSettings
from proxy.strict_json import object_or_none

_EPOCH = datetime.fromtimestamp(0, UTC)
_LONGEST_STORED = timedelta(days=30)
# of any length, for Apple promises none; the bound only keeps nonsense out of a URL
_DEVICE_TOKEN = re.compile(r"[0-9a-fA-F]{2,512}")

_ONE_WORD = re.compile(r"[A-Za-z]{1,60}")  # device tokens have digits, sentences have blanks
_GONE = frozenset({"Unregistered", "ExpiredToken"})  # 410, with the time since when

# What a reason means for the job. Neighbours share the status that is said beside the first of them.
_MEANING: Mapping[str, Callable[[str], Outcome]] = {
    # of this device: the token of another environment or app, or nonsense; Apple does not distinguish these
    "BadDeviceToken": Misaddressed,  # 400
    "DeviceTokenNotForTopic": Misaddressed,
    # of this request: a mistake of ours in it, the same at every repeat
    "BadCollapseId": Rejected,  # 400
    "BadExpirationDate": Rejected,
    "BadMessageId": Rejected,
    "BadPriority": Rejected,
    "DuplicateHeaders": Rejected,
    "InvalidPushType": Rejected,
    "MissingDeviceToken": Rejected,
    "PayloadEmpty": Rejected,
    "BadPath": Rejected,  # 404
    "MethodNotAllowed": Rejected,  # 405
    "PayloadTooLarge": Rejected,  # 413
    # of the configuration: topic, key or certificate; every job of the lane would fare the same
    "BadTopic": OurFault,  # 400
    "MissingTopic": OurFault,
    "TopicDisallowed": OurFault,
    "InvalidProviderToken": OurFault,  # 403; a new signature of the same key would be no better
    "MissingProviderToken": OurFault,
    "BadCertificate": OurFault,
    "BadCertificateEnvironment": OurFault,
    "BadEnvironmentKeyIdInToken": OurFault,
    "UnrelatedKeyIdInToken": OurFault,
    "Forbidden": OurFault,
    # of the provider token's age
    "ExpiredProviderToken": lambda _: CredentialsExpired(),  # 403
    "TooManyProviderTokenUpdates": Deferred,  # 429; another new token would only prolong it
    # of the moment
    "TooManyRequests": lambda reason: Deferred(reason, about=About.DEVICE),  # 429, counted per device
    "IdleTimeout": Deferred,  # 400; the connection ends
    "InternalServerError": Deferred,  # 500
    "ServiceUnavailable": Deferred,  # 503
    "Shutdown": Deferred,  # 503; the connection ends
}


class ApnsWire:
    """One iOS app's pushes to the devices of one environment. A `proxy.ports.Wire`."""

    batch_limit = 1

    def __init__(
        self, settings: ApnsSettings, environment: ApnsEnvironment, vocabulary: Vocabulary | None = None
    ) -> None:
        self._payload = partial(payload_of, sound=settings.sound, communication=settings.communication)
        self._localized = settings.localized
        self._vocabulary = vocabulary or Vocabulary()
        is_sandbox = environment is ApnsEnvironment.SANDBOX
        self._path = f"{settings.sandbox_url if is_sandbox else settings.production_url}/3/device/"
        self._replaces_recalled = settings.recall == "replace"
        plain = (
            # an empty one keeps libcurl from sending its own
            "content-type:",
            "user-agent:",
            "accept:",
        )
        topic = f"apns-topic: {settings.topic}"
        self._of_alerts = (topic, "apns-push-type: alert", "apns-priority: 10", *plain)
        self._of_badges = (topic, "apns-push-type: alert", "apns-priority: 5", *plain)
        self._in_background = (topic, "apns-push-type: background", "apns-priority: 5", *plain)

    def batch_key(self, job: Job) -> Hashable:
        """Never the same: APNs takes one device a request."""
        return job.id

    def refuse(self, push: Push) -> Outcome | None:
        """Keep what cannot be a device token out of the URL."""
        if push.device is None:
            return Rejected("address")
        is_hex = len(push.address) % 2 == 0 and _DEVICE_TOKEN.fullmatch(push.address)
        return None if is_hex else Misaddressed("address")

    def build(self, pushes: Sequence[Push], authorization: str, now: datetime) -> Request:
        """The request for one push; `authorization` is "bearer " and the provider token."""
        (push,) = pushes
        job, update = push.job, push.job.alert.update
        expires_at = min(job.alert.expires_at, now + _LONGEST_STORED)
        # APNs keeps one push of an app for a phone that is off: an update there would displace an alert
        expiration = 0 if update else int(expires_at.timestamp())
        ids, until = (f"authorization: {authorization}", f"apns-id: {job.id}"), f"apns-expiration: {expiration}"
        if update is Update.BADGE:
            return Request(self._path + push.address, (*ids, until, *self._of_badges), badge_payload(push.badge or 0))
        if update and not (update is Update.RECALL and self._replaces_recalled):
            return Request(
                self._path + push.address, (*ids, until, *self._in_background), withdrawal_payload(job.alert)
            )
        headers = (*ids, f"apns-collapse-id: {_collapse_id(job.alert)}", until, *self._of_alerts)
        text = self._vocabulary.shown(push.text)
        if self._localized == "server":
            text = self._vocabulary.say(text, push.locale)
        return Request(self._path + push.address, headers, self._payload(job.alert, text, badge=push.badge))

    def variant(self, push: Push) -> Hashable:
        """A request has one device, and is never divided."""
        return push.job.id

    def read(self, pushes: Sequence[Push], answer: Response, now: datetime) -> list[Outcome]:
        """What any answer means, unknown ones included. A reason is passed on only if it is one word, as Apple's."""
        return [_outcome(answer, now) for _ in pushes]


def _collapse_id(alert: Alert) -> str:
    """What a push takes the place of: that of the same message, and of a fold the one that told of fewer."""
    return digest("fold", alert.message_id) if alert.is_fold else alert.message_id


def _outcome(answer: Response, now: datetime) -> Outcome:
    if answer.status == 200:
        return Accepted()
    outcome = _refusal(answer, now)
    return replace(outcome, retry_after=retry_after(answer.headers)) if isinstance(outcome, Deferred) else outcome


def _refusal(answer: Response, now: datetime) -> Outcome:
    status, plain = answer.status, f"http {answer.status}"
    if 100 <= status < 400:
        # nothing that APNs says: a portal, a proxy or a wrong address speaks. A person must look; the jobs wait
        return OurFault(plain)
    details = object_or_none(answer.body)
    if details is None:  # not APNs itself, which always says why
        return Deferred(plain)
    reason = _reason(details.get("reason"))
    if not 400 <= status < 500:
        return Deferred(reason or plain)
    if reason in _GONE or (status == 410 and not reason):
        return Unregistered(_moment(details.get("timestamp"), now))
    if meaning := _MEANING.get(reason):
        return meaning(reason)
    # a reason newer than this table must neither be repeated for ever nor remove a device
    return Deferred(reason or plain) if status == 429 else Rejected(reason or plain)


def _reason(given: object) -> str:
    """One word; "" where there is none. Whatever else might repeat the push, and reasons are logged and kept."""
    if not isinstance(given, str):
        return ""
    return given if _ONE_WORD.fullmatch(given) else "unreadable reason"


def _moment(timestamp_ms: object, now: datetime) -> datetime | None:
    """Their milliseconds as a time up to now; None for what is none.

    A time to come would also remove a device that registers after this answer.
    """
    if not isinstance(timestamp_ms, int) or isinstance(timestamp_ms, bool) or timestamp_ms <= 0:
        return None
    try:
        return min(_EPOCH + timedelta(milliseconds=timestamp_ms), now)
    except OverflowError:
        return None

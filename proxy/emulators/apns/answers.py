"""What APNs can answer: Apple's reasons with their statuses (User Notifications, "Handling notification responses")."""

import json
from collections.abc import Mapping
from typing import NamedTuple

STATUS_OF: Mapping[str, int] = {
    "BadCollapseId": 400,
    "BadDeviceToken": 400,
    "BadExpirationDate": 400,
    "BadMessageId": 400,
    "BadPriority": 400,
    "BadTopic": 400,
    "DeviceTokenNotForTopic": 400,
    "DuplicateHeaders": 400,
    "IdleTimeout": 400,
    "InvalidPushType": 400,
    "MissingDeviceToken": 400,
    "MissingTopic": 400,
    "PayloadEmpty": 400,
    "TopicDisallowed": 400,
    "BadCertificate": 403,
    "BadCertificateEnvironment": 403,
    "BadEnvironmentKeyIdInToken": 403,
    "ExpiredProviderToken": 403,
    "Forbidden": 403,
    "InvalidProviderToken": 403,
    "MissingProviderToken": 403,
    "UnrelatedKeyIdInToken": 403,
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "ExpiredToken": 410,
    "Unregistered": 410,
    "PayloadTooLarge": 413,
    "TooManyProviderTokenUpdates": 429,
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "Shutdown": 503,
}


class Answer(NamedTuple):
    """A response: its status, and the reason unless it is 200. Without a reason there is no body."""

    status: int
    reason: str | None = None
    timestamp_ms: int | None = None
    retry_after: str | None = None

    def body(self) -> bytes:
        if self.reason is None:
            return b""
        content: dict[str, str | int] = {"reason": self.reason}
        if self.timestamp_ms is not None:
            content["timestamp"] = self.timestamp_ms
        return json.dumps(content, separators=(",", ":")).encode()


ACCEPTED = Answer(200)


def refusal(reason: str, timestamp_ms: int | None = None) -> Answer:
    """Apple's answer for one of Apple's reasons."""
    return Answer(STATUS_OF[reason], reason, timestamp_ms)

"""What APNs thinks of a request: its headers and payload, and the device it is for.

Source: Apple, "Sending notification requests to APNs". Where Apple names no reason we chose one, and say so.
"""

import json
import re
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, get_args

from proxy.emulators.apns.answers import ACCEPTED, Answer, refusal

_SUFFIX_OF: Mapping[str, str] = {
    "alert": "",
    "background": "",
    "voip": ".voip",
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "location": ".location-query",
    "liveactivity": ".push-type.liveactivity",
    "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets",
    "controls": ".push-type.controls",
    "mdm": "",
}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX = re.compile(r"([0-9a-fA-F]{2})+")
_TOPIC = re.compile(r"[A-Za-z0-9.-]+")
# eleven digits are no UNIX seconds of this age: most likely milliseconds
_SECONDS = re.compile(r"[0-9]{1,10}")
_PREFIX = "/3/device/"
_NOBODYS = "f" * 64  # well formed, and no device's


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_JSON = json.JSONDecoder(parse_constant=_no_number)

DeviceState = Literal["registered", "unregistered", "expired", "other environment", "other topic"]
DEVICE_STATES: tuple[str, ...] = get_args(DeviceState)


class Device(NamedTuple):
    """What APNs knows of a device token; `timestamp_ms` says since when it has been invalid. `phone` is its name."""

    state: DeviceState = "registered"
    timestamp_ms: int | None = None
    phone: str | None = None


class PushRequest(NamedTuple):
    """A complete request. `headers` without the pseudo-headers; `repeated` when one of them came twice."""

    method: str
    path: str
    headers: Mapping[str, str]
    repeated: bool
    body: bytes

    @property
    def device_token(self) -> str:
        """The path's last part as it came; empty where the path has none."""
        return self.path.removeprefix(_PREFIX) if self.path.startswith(_PREFIX) else ""


class Judgement(NamedTuple):
    """The answer that a request deserves; `payload` is its JSON, None where it is none."""

    answer: Answer
    apns_id: str
    payload: Any
    team_id: str | None = None


def judge(
    request: PushRequest,
    authenticate: Callable[[str | None], str | Answer],
    topics_of: Mapping[str, Collection[str]],
    device_of: Callable[[str], Device],
) -> Judgement:
    """Find the first thing wrong with a request.

    `authenticate` turns the authorization header into a team id or a refusal, `topics_of` a team id into its bundle
    ids, `device_of` a device token (lower case) into what is known of it.
    """
    given_id = request.headers.get("apns-id")
    apns_id = given_id if given_id and _UUID.fullmatch(given_id) else str(uuid.uuid4())
    payload = _payload(request.body)
    if reason := _wrong_address(request):
        return Judgement(refusal(reason), apns_id, payload)
    team_id = authenticate(request.headers.get("authorization"))
    if isinstance(team_id, Answer):
        return Judgement(team_id, apns_id, payload)
    reason = _wrong_header(request.headers, topics_of[team_id]) or _wrong_content(request, payload)
    answer = refusal(reason) if reason else _for_device(device_of(request.device_token.lower()))
    return Judgement(answer, apns_id, payload, team_id)


def _wrong_address(request: PushRequest) -> str | None:
    if not (request.path + "/").startswith(_PREFIX) or "/" in request.device_token or "?" in request.path:
        return "BadPath"
    if request.method != "POST":
        return "MethodNotAllowed"
    return "DuplicateHeaders" if request.repeated else None


def _wrong_header(headers: Mapping[str, str], topics: Collection[str]) -> str | None:
    apns_id, push_type = headers.get("apns-id"), headers.get("apns-push-type")
    priority, expiration = headers.get("apns-priority", "10"), headers.get("apns-expiration", "0")
    if apns_id is not None and not _UUID.fullmatch(apns_id):
        return "BadMessageId"
    if push_type is not None and push_type not in _SUFFIX_OF:
        return "InvalidPushType"
    if reason := _wrong_topic(headers.get("apns-topic"), push_type, topics):
        return reason
    # 10 is the default too, yet only an explicit 10 is known to be refused
    if priority not in ("10", "5", "1") or (push_type == "background" and headers.get("apns-priority") == "10"):
        return "BadPriority"
    if not _SECONDS.fullmatch(expiration):
        return "BadExpirationDate"
    collapse_id = headers.get("apns-collapse-id")
    if collapse_id is not None and not 0 < len(collapse_id.encode("utf-8", "surrogateescape")) <= 64:
        return "BadCollapseId"
    return None


def _wrong_topic(apns_topic: str | None, push_type: str | None, topics: Collection[str]) -> str | None:
    """A suffix that is not its push type's is BadTopic here; Apple says only that such a push may get lost."""
    if not apns_topic:
        return "MissingTopic"
    if not _TOPIC.fullmatch(apns_topic):
        return "BadTopic"
    suffixes = {apns_topic.removeprefix(bundle_id) for bundle_id in topics if apns_topic.startswith(bundle_id)}
    if not suffixes.intersection(_SUFFIX_OF.values()):
        return "TopicDisallowed"
    return "BadTopic" if push_type is not None and _SUFFIX_OF[push_type] not in suffixes else None


def _wrong_content(request: PushRequest, payload: Any) -> str | None:
    """What is not a JSON object with an `aps` object is PayloadEmpty here; Apple has no reason of its own for it."""
    if not request.device_token:
        return "MissingDeviceToken"
    if not _HEX.fullmatch(request.device_token) or request.device_token.lower() == _NOBODYS:
        return "BadDeviceToken"
    if len(request.body) > (5120 if request.headers.get("apns-push-type") == "voip" else 4096):
        return "PayloadTooLarge"
    if not isinstance(payload, dict) or not isinstance(payload.get("aps"), dict):
        return "PayloadEmpty"
    return None


def _for_device(device: Device) -> Answer:
    match device.state:
        case "unregistered":
            return refusal("Unregistered", device.timestamp_ms)
        case "expired":
            return refusal("ExpiredToken", device.timestamp_ms)
        case "other environment":
            return refusal("BadDeviceToken")
        case "other topic":
            return refusal("DeviceTokenNotForTopic")
        case "registered":
            return ACCEPTED


def _payload(body: bytes) -> Any:
    try:
        return _JSON.decode(body.decode()) if body else None
    except (ValueError, RecursionError):
        return None

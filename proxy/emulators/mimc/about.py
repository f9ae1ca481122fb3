"""What this emulator is, for GET /_emulator/about: what it answers, and how far its answers are known to be MIMC's."""

from collections.abc import Iterable
from typing import Any

from proxy.emulators.mimc.asked import Call
from proxy.emulators.mimc.config import MimcConfig

_OWN = (
    "every code and message of a refusal, but for 500 quit topic fail of an owner who leaves; 400 what is wrong with"
    " the call, 401 credentials, 403 not theirs to do, 404 no such group, message or contact, 429 quota, 503 full",
    "that a refusal has HTTP 200 (refuse_with_http_status changes it)",
    "that who misses a quota has no message of the call written, and which second counts",
    "that a push to a group needs no sender among its members",
    "that a blocked message is answered like any other, and is neither delivered nor kept",
    "that topicId, uuid and sequence are texts in answers, and ts, timestamp and row of the history numbers",
    "that rows of the history go from old to new, at most 1000, with bizType and extra where there are any",
    "that history and queries of a group are for its members, and changes and destruction for its owner",
    "that a new owner must be a member, and that an owner cannot remove themselves",
    "that unlimited groups are not in the contact list",
    "that extra/update of a message or contact answers null",
    "the answers of uctopic calls beyond topicId, members, isEnd and userCnt; pages of 100; a uuid for each member",
    "that onlineinfo counts the members who are signed in",
    "that nobody is signed in until PUT /_emulator/online says so, and then at the resource that it names",
    "every answer of an undocumented call: an echo",
)
_LEFT_OUT = (
    "UCTOPIC_MSG callbacks: their members are unknown; a message ordered for an unlimited group makes those of a group",
    "sockets: no login, no join of an unlimited group (PUT /_emulator/uctopics/<topicId>)",
    "life time of tokens (DELETE /_emulator/tokens), of messages beyond the newest, and of temporary accounts",
)


def about(config: MimcConfig, calls: Iterable[Call]) -> dict[str, Any]:
    return {
        "emulates": "MIMC's token call, HTTP API and message callbacks",
        "calls": [
            {
                "method": call.method,
                "path": call.path,
                "credentials": call.credentials.value,
                "documented": call.documented,
            }
            for call in calls
        ],
        "own_inventions": list(_OWN),
        "left_out": list(_LEFT_OUT),
        "pushes_per_second": {
            "p2p": config.p2p_per_second,
            "topic": config.topic_per_second,
            "uctopic": config.uctopic_per_second,
        },
        "stored_by_default": config.stored_by_default,
        "undocumented": config.undocumented,
    }

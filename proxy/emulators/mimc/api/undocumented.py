"""Calls that one old source alone knows, the Flutter package of 2019: their answers are unknown, and so are ours.

With `undocumented` in the settings they are answered with what they say themselves, without credentials.
"""

import time
from typing import TYPE_CHECKING, Any

from proxy.emulators.mimc.asked import Asked, Call, Credentials

if TYPE_CHECKING:
    from proxy.emulators.mimc.service import Mimc

_SECRETS = frozenset({"appKey", "appSecret"})


def _echo(_: "Mimc", asked: Asked) -> dict[str, Any]:
    return {name: value for name, value in asked.values.items() if name not in _SECRETS}


def _push(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    messages, groups = asked.values.get("messages"), asked.values.get("topicIds")
    count = max((len(found) for found in (messages, groups) if isinstance(found, list)), default=1)
    mimc.uctopic_quota.take(asked.caller.app_id, count, time.monotonic())
    return _echo(mimc, asked)


CALLS = (
    *(
        Call("POST", f"/api/push/ucs/{name}/", Credentials.BODY, _push, documented=False)
        for name in ("singleMsgPush", "multiMsgPush", "multiTopicPush")
    ),
    *(
        Call(method, path, Credentials.HEADERS, _echo, documented=False)
        for method, path in (
            ("GET", "/api/uctopic/topic"),
            ("POST", "/api/uctopic/update"),
            ("POST", "/api/msg/p2p/queryOnCount/v2/"),
            ("POST", "/api/msg/p2t/queryOnCount/v2/"),
            ("POST", "/api/msg/p2p/extra/multiupdate/"),
            ("POST", "/api/msg/p2t/extra/multiupdate/"),
            ("POST", "/api/msg/p2p/extra/update/v2/"),
            ("POST", "/api/msg/p2t/extra/update/v2/"),
            ("POST", "/api/msg/p2p/extra/batchupdate/"),
            ("POST", "/api/msg/p2t/extra/batchupdate/"),
            ("POST", "/api/topicblacklist/"),
            ("GET", "/api/topicblacklist/{topicId}/blackAccount"),
            ("DELETE", "/api/topicblacklist/{topicId}/blackAccount"),
        )
    ),
)

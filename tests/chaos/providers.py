"""What the emulated providers do wrong by order. Each order hits only what is otherwise in order."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.chaos.dice import Trouble
from tests.chaos.runlog import RunLog, now_ms
from tests.system.rig import Rig

Order = Mapping[str, Any]

# by emulator and kind of fault: the ways in which it may show, of which one is drawn
ORDERS: dict[str, Mapping[str, Sequence[Order]]] = {
    "apns": {
        "provider_429": [{"effect": "answer", "reason": "TooManyRequests", "share": 0.3}],
        "provider_503": [{"effect": "answer", "reason": "ServiceUnavailable"}, {"effect": "no_body_503", "share": 0.5}],
        "provider_goaway": [{"effect": "goaway", "code": 0, "times": 2}, {"effect": "goaway", "code": 20, "times": 2}],
        "provider_reset": [
            {"effect": "reset", "times": 2},
            {"effect": "close", "times": 2},
            {"effect": "rst_stream", "times": 20},
            {"effect": "rst_stream", "code": 7, "times": 20},  # REFUSED_STREAM: the push counts as not taken
        ],
        "provider_silence": [{"effect": "silence", "share": 0.2}, {"effect": "silent_connection", "times": 1}],
        "provider_slow": [{"effect": "delay"}, {"effect": "delay", "share": 0.5}],
        "provider_unreachable": [{"effect": "closed"}, {"effect": "untrusted"}],
        "provider_wrong_key": [{"effect": "answer", "reason": "InvalidProviderToken"}],
    },
    "mipush": {
        "provider_429": [{"effect": "status", "status": 429, "share": 0.5}, {"effect": "code", "code": 10022}],
        "provider_503": [{"effect": "status", "status": 503}, {"effect": "not_json", "share": 0.5}],
        "provider_reset": [
            {"effect": "reset", "times": 3},
            {"effect": "close_kept", "times": 3},
            {"effect": "reset_after", "times": 3},  # carried out, but the answer is lost
            {"effect": "truncated", "times": 3},
        ],
        "provider_silence": [{"effect": "silence", "share": 0.3}, {"effect": "silence_after", "share": 0.3}],
        "provider_slow": [{"effect": "delay"}, {"effect": "delay", "share": 0.5}],
        "provider_wrong_key": [{"effect": "code", "code": 21301}],
    },
}


ORDERS |= {"sandbox": ORDERS["apns"]}


class Provider:
    """One emulator; where it is slow, each answer takes `slow_s`."""

    def __init__(self, name: str, rig: Rig, log: RunLog, slow_s: float) -> None:
        self._name, self._rig, self._log, self._slow_s = name, rig, log, slow_s

    def strike(self, trouble: Trouble) -> None:
        ways = ORDERS[self._name][trouble.kind]
        order = {**ways[int(trouble.lot * len(ways))]}
        if order["effect"] == "delay":
            order["delay_ms"] = round(self._slow_s * 1000)
        begin_ms = now_ms()
        self._rig.fault(self._name, **order)
        time.sleep(trouble.for_s)
        self._rig.end_faults(self._name)
        self._log.write("fault", kind=trouble.kind, target=self._name, pid=None, begin_ms=begin_ms, end_ms=now_ms())

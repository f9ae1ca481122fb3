"""What the emulator's connections have in common, and what the control server changes under them."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from proxy.emulators.apns.answers import Answer, refusal
from proxy.emulators.apns.config import ApnsConfig
from proxy.emulators.apns.rules import Device, Judgement, PushRequest, judge
from proxy.emulators.apns.tokens import ProviderTokens, provider_keys
from proxy.emulators.control import Fault, FaultBook, Journal

CONNECTION_EFFECTS = frozenset({"silent_connection", "reset", "goaway", "close"})
PUSH_EFFECTS = CONNECTION_EFFECTS | {"answer", "silence", "delay", "rst_stream", "no_body_503"}
LASTING_EFFECTS = frozenset({"limit", "closed", "untrusted"})
EFFECTS = PUSH_EFFECTS | LASTING_EFFECTS


class ApnsFaults(FaultBook):
    """The faults in force. Some last from their order until all faults end: `changed` is called at both."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed
        self.stream_limit: int | None = None

    def order(self, fault: Fault) -> None:
        super().order(_at_its_target(fault))
        if fault.effect == "limit":
            self.stream_limit = fault.code
        if fault.effect in LASTING_EFFECTS:
            self._changed()

    def replace(self, faults: Iterable[Fault]) -> None:
        before, after = self.in_force(), list(map(_at_its_target, faults))
        super().replace(after)
        self.stream_limit = next((fault.code for fault in reversed(after) if fault.effect == "limit"), None)
        if any(fault.effect in LASTING_EFFECTS for fault in (*before, *after)):
            self._changed()

    def is_in_force(self, effect: str) -> bool:
        return any(fault.effect == effect for fault in self.in_force())

    def for_push(self, device_token: str) -> Fault | None:
        return self.take(device_token, PUSH_EFFECTS)


def _at_its_target(fault: Fault) -> Fault:
    """Device tokens are compared in small letters."""
    return replace(fault, target=fault.target.lower()) if fault.target else fault


class Shared:
    """Everything but the connections themselves. Used on the loop's thread, except the journal and the faults."""

    def __init__(self, config: ApnsConfig, changed: Callable[[], None]) -> None:
        self.config = config
        self.provider_tokens = ProviderTokens(
            provider_keys(config), config.environment, config.token_updates, config.token_window_s
        )
        self.devices: dict[str, Device] = {}
        self.faults = ApnsFaults(changed)
        self.journal = Journal()
        self.counted: Counter[str] = Counter()
        self._topics = {team.team_id: team.topics for team in config.teams}

    def now(self) -> float:
        """UNIX seconds by this APNs' clock."""
        return time.time() + self.config.clock_offset_s

    def judge(self, request: PushRequest, team_id: str | None) -> Judgement:
        """Judge a request on a connection that has been used by team `team_id` (None: by no team yet)."""

        def authenticate(authorization: str | None) -> str | Answer:
            found = self.provider_tokens.check(authorization, self.now())
            if isinstance(found, str) and team_id not in (None, found):
                return refusal("UnrelatedKeyIdInToken")
            return found

        return judge(request, authenticate, self._topics, lambda device_token: self.devices.get(device_token, _PLAIN))

    def counters(self) -> dict[str, int]:
        return {
            **{name: self.counted[name] for name in COUNTERS},
            "provider_token_updates": self.provider_tokens.updates_seen,
        }


_PLAIN = Device()

COUNTERS = (
    "connections",
    "most_streams_before_first_good_answer",
    "streams_over_limit",
    "streams_over_acknowledged_limit",
    "arrivals_above_last_stream_id",
    "streams_dropped_by_goaway",
    "protocol_errors",
)


def on_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], int]) -> int:
    """Run `work` on the loop's thread from another one, and wait until it has been done."""

    async def run() -> int:
        return work()

    return asyncio.run_coroutine_threadsafe(run(), loop).result(timeout=30)

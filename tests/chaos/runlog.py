"""The run log: what the outside world did, a JSON object a line. Written by generator and environment, judged later.

Every line has `event` and `ms`: milliseconds of the monotonic clock, as `monotonic_ms` in the emulators' journals.

    run                   seed, started_at_ms (epoch)                       the first line
    registered            asked_ms, app (section), account, device, platform, push_token, resource?
                          answered 2xx: from `ms` on the token is this account's. MiPush addressed by account: the phone
                          that answers to the account is known to the emulator; push_token is the account
    removed               the same members: DELETE was answered 2xx
    registration_unknown  the same members: no answer or 5xx, so whose device it is, is unknown
    message               word, app_id, app, sender, conversation, topic_id, sequence, sent_at_ms, has_id?
                          a message with its random word, which is in its text alone; one of the two forms for all
                          of its callbacks; `sequence` and `sent_at_ms` ascend within a conversation
    posted                callback, word, kind (msgType), recipients, form (old|new), attempt, asked_ms, status (0: the
                          connection broke), duplicate, resources? (account -> the logins that missed it)
                          a post and its answer; the same body has the same number `callback`
    notice                the same members, and why (read|recall) and by: a post of a READ or RECALL, which names the
                          message with this word; `recipients` are those to whom it goes
    fault                 kind, target, pid, begin_ms, end_ms, ports?
                          written when it is over; end_ms null: it lasts until the run's end. What is killed: begin_ms
                          just before the signal, end_ms when a successor runs. A failover: end_ms when all servers that
                          should follow the new master do. Target: a process, an emulator or, for
                          provider_410, the push token. `ports` of a worker: `sockets.ports_of(pid)`, asked just before
    worker                pid                                               a worker process was started
    end                   backlog                                           all work was settled, or patience has ended
"""

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FAULTS = frozenset({
    "kill_worker", "kill_web", "kill_store", "empty_store", "stop_worker", "slow_worker", "restart_worker",
    "restart_web", "store_away", "provider_429", "provider_503", "provider_410", "provider_goaway", "provider_reset",
    "provider_silence", "provider_slow", "provider_unreachable", "provider_wrong_key", "spool_full",
    "failover", "replica_away", "migrate_slots",
})  # fmt: skip

_DEVICE = frozenset({"asked_ms", "app", "account", "device", "platform", "push_token"})
_POST = frozenset({"callback", "word", "kind", "recipients", "form", "attempt", "asked_ms", "status", "duplicate"})
_MEMBERS: Mapping[str, frozenset[str]] = {
    "run": frozenset({"seed", "started_at_ms"}),
    "registered": _DEVICE,
    "removed": _DEVICE,
    "registration_unknown": _DEVICE,
    "message": frozenset({"word", "app_id", "app", "sender", "conversation", "topic_id", "sequence", "sent_at_ms"}),
    "posted": _POST,
    "notice": _POST | {"why", "by"},
    "fault": frozenset({"kind", "target", "pid", "begin_ms", "end_ms"}),
    "worker": frozenset({"pid"}),
    "end": frozenset({"backlog"}),
}  # fmt: skip
_OPTIONAL: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("registered", "removed", "registration_unknown"), frozenset({"resource"})),
    "message": frozenset({"has_id"}),
    "posted": frozenset({"resources"}),
    "fault": frozenset({"ports"}),
}


def now_ms() -> int:
    """The emulators' clock."""
    return time.monotonic_ns() // 1_000_000


class RunLog:
    """Writes a run log. Safe to use from several threads; a line is in the file once `write` has returned."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def write(self, event: str, *, ms: int | None = None, **facts: Any) -> None:
        """One line; `ms` is now unless given. Raises ValueError for members that this event does not have, or lacks."""
        check_event(event, facts)
        line = json.dumps({"event": event, "ms": now_ms() if ms is None else ms, **facts}, separators=(",", ":"))
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()


def check_event(event: str, facts: Mapping[str, Any]) -> None:
    """Raises ValueError unless the event is known and has its members and no others."""
    if event not in _MEMBERS:
        raise ValueError(f"unknown event {event}")
    missing = _MEMBERS[event] - facts.keys()
    unknown = facts.keys() - _MEMBERS[event] - _OPTIONAL.get(event, frozenset())
    if missing or unknown:
        raise ValueError(f"{event}: missing {sorted(missing)}, unknown {sorted(unknown)}")
    if event == "fault" and facts["kind"] not in FAULTS:
        raise ValueError(f"unknown kind of fault: {facts['kind']}")


def read_run_log(path: Path) -> list[dict[str, Any]]:
    """Its events in the order of writing. A last line that was cut off, because its writer was killed, is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]

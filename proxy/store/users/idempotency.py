"""Which calls were made with an Idempotency-Key, and how they ended: a hash for each, for a day.

An answer lies here as MIMC gave it, and may hold what users wrote; of what was asked there is a keyed hash alone.
"""

import json
import secrets
from contextlib import suppress
from datetime import datetime, timedelta

from proxy.compact_json import compact_json
from proxy.domain.idempotency import (
    KEPT_FOR,
    MOST_KEPT_OF_A_CALLER,
    Answered,
    Begun,
    Call,
    Different,
    Found,
    MayHaveBeenSent,
    Running,
)
from proxy.domain.times import MS, to_ms
from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.scripts import Argument, Command, ask_now, script

_SHARE_OF_REPLICAS = 0.5  # of a call's time


class RedisIdempotency:
    """Implements ports.Idempotency. `replicas`: so many of the store's must have the mark before a call may leave.

    `most_kept`: bytes of answers of one caller, in a day; beyond it their calls are marked, and answers not kept.
    """

    def __init__(self, store: Store, replicas: int = 0, most_kept: int = MOST_KEPT_OF_A_CALLER) -> None:
        self._store, self._replicas, self._most_kept = store, replicas, most_kept

    def begin(self, call: Call, now: datetime, lease: timedelta) -> Found:
        now_ms = to_ms(now)
        begun = Begun(call, secrets.token_hex(8), now_ms)
        args: list[Argument] = [call.content, begun.owner, now_ms, now_ms + lease // MS, KEPT_FOR // MS]
        verdict, *more = self._marked(script("begin_call").call([keys.idempotency(call.name)], args), begun)
        match verdict:
            case b"begun":
                return begun
            case b"answered":
                status, headers, body = more
                return Answered(int(status), json.loads(headers), body)
            case b"running":
                return Running(int(more[0]))
            case b"different":
                return Different()
            case _:
                return MayHaveBeenSent()

    def end(self, begun: Begun, answer: Answered) -> bool:
        """One round trip, and another where the body may not stay."""
        said: list[Argument] = [answer.status, compact_json(dict(answer.headers))]
        if answer.body is None:
            return self._end(begun, "answered", said)
        return self._end(begun, "answered", [*said, answer.body], self._counted(begun, len(answer.body)))

    def cut_off(self, begun: Begun) -> bool:
        return self._end(begun, "cut off", [])

    def abandon(self, begun: Begun) -> bool:
        return self._end(begun, "abandoned", [])

    def _marked(self, command: Command, begun: Begun) -> list[bytes]:
        waits: list[Command] = []
        if self._replicas:
            waits = [("WAIT", self._replicas, int(self._store.timeout_s * _SHARE_OF_REPLICAS * 1000))]
        found: list[bytes]
        found, *had_by = self._store.call(lambda redis: ask_now(redis, [command], waits))
        if found[0] == b"begun" and had_by and had_by[0] < self._replicas:
            self.abandon(begun)
            self._store.leave()  # its replicas may follow another master now
            raise StoreUnavailable("too few of the store's replicas have it", self._store.at)
        return found

    def _end(self, begun: Begun, how: str, more: list[Argument], *counted: Command) -> bool:
        name = keys.idempotency(begun.call.name)
        command = script("end_call").call([name], [begun.owner, how, *more])
        with suppress(StoreUnavailable):
            done, *verdicts = self._store.call(lambda redis: ask_now(redis, [command, *counted]))
            if done and verdicts and not verdicts[0][0]:
                self._store.call(lambda redis: ask_now(redis, [("HDEL", name, "body")]))
            return bool(done)
        return False

    def _counted(self, begun: Begun, size: int) -> Command:
        """Counts so many bytes as calls of the caller are counted, and says whether they had as many left."""
        args: list[Argument] = [begun.began_ms, KEPT_FOR // MS, self._most_kept, max(size, 1) - 1]
        return script("admit").call([keys.calls("kept_answers", begun.call.caller)], args)

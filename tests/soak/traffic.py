"""A steady day in small: the same people write to each other, ask for tokens and renew their devices, beat by beat.

Everything that the service must remember is bounded: accounts, devices, conversations. New with each message are its
marks; so that their number, too, is steady from the first second, the store gets those of the messages before at the
start (`remember_the_past`).
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count

import requests

from proxy.domain.callbacks import digest
from proxy.store import keys
from proxy.store.keys import Layout
from proxy.store.marks import Marks
from tests.system.rig import MAIN, TOPIC, URL_SECRET, Rig, offline, offline_topic, push_token

BEATS_PER_S = 15
MARKS_LIFE_S = 335  # the least that the settings take
GENERATION_MS = 60_000
MARKS = Marks(GENERATION_MS, 1, bytes(16))  # a bucket of a shard: some 300 marks of a generation
READERS, SENDERS, MEMBERS = 24, 3, 6
_THREADS = 4
_BEARER_LIFE_S = 300


class Traffic:
    """Runs from `with` to its end. `answers` counts status codes by what was asked."""

    def __init__(self, rig: Rig) -> None:
        self.answers = Counter[tuple[str, int]]()
        self._rig = rig
        self._beats = _shared(count())
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(_THREADS)]
        self._bearers: dict[str, tuple[float, str]] = {}
        self._tokens = {f"reader-{number}": (push_token(), push_token()) for number in range(READERS)}
        self._lock = threading.Lock()
        self._started = 0.0

    def __enter__(self) -> "Traffic":
        self._start_people()
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    @property
    def bad_answers(self) -> dict[tuple[str, int], int]:
        return {what: times for what, times in self.answers.items() if what[1] != 200}

    def _start_people(self) -> None:
        phones = [
            {"phone": f"phone of {reader}", "package": TOPIC[MAIN], "accounts": [reader]} for reader in self._tokens
        ]
        self._rig.http.post(f"{self._rig.control('mipush')}/devices", json=phones, timeout=10).raise_for_status()
        for reader, (first, _) in self._tokens.items():
            self._rig.register(reader, "phone", first).raise_for_status()

    def _run(self) -> None:
        for beat in self._beats:
            wait = self._started + beat / BEATS_PER_S - time.monotonic()
            if self._stopped.wait(max(0.0, wait)):
                return
            for what, status in self._asked_in(beat):
                with self._lock:
                    self.answers[what, status] += 1

    def _asked_in(self, beat: int) -> Iterator[tuple[str, int]]:
        """What a beat asks of the service, and the answers' statuses. 0: the connection broke."""
        reader, sender = f"reader-{beat % READERS}", f"sender-{beat // READERS % SENDERS}"
        body = offline(sender, reader, f"message {beat}", beat)
        if beat % 5 == 0:
            members = [f"reader-{(beat + number) % READERS}" for number in range(MEMBERS)]
            body = offline_topic(sender, members, f"message {beat}", beat)
        if beat % 3 == 0:
            yield "instant callback", self._post({**offline(sender, reader, "", beat), "msgType": "NORMAL_MSG"})
        yield "callback", self._post(body)
        if beat % 7 == 0:
            yield "repeated callback", self._post(body)
        if beat % 5 == 1:
            yield "token", self._as(reader, "POST", "/api/account/token", {"appId": MAIN})
        if beat % 10 == 2:
            first, second = self._tokens[reader]
            device = {"app": "main", "platform": "apns", "push_token": first}
            yield "device renewed", self._as(reader, "PUT", "/api/devices/phone", device)
            yield "device added", self._as(reader, "PUT", "/api/devices/tablet", {**device, "push_token": second})
            yield "device removed", self._as(reader, "DELETE", "/api/devices/tablet?app=main", None)
        if beat % 75 == 3:
            for page in ("metrics", "readyz"):
                yield page, self._call("GET", f"{self._rig.operator}/{page}", None, {})

    def _post(self, body: dict[str, object]) -> int:
        return self._call("POST", f"{self._rig.web}/callbacks/mimc/{URL_SECRET[MAIN]}", body, {})

    def _as(self, account: str, method: str, path: str, body: dict[str, str] | None) -> int:
        with self._lock:
            made, bearer = self._bearers.get(account, (0.0, ""))
            if time.monotonic() - made > _BEARER_LIFE_S or not bearer:
                bearer = self._rig.bearer(account)
                self._bearers[account] = time.monotonic(), bearer
        return self._call(method, self._rig.web + path, body, {"Authorization": f"Bearer {bearer}"})

    def _call(self, method: str, url: str, body: object, headers: dict[str, str]) -> int:
        try:
            return self._rig.http.request(method, url, json=body, headers=headers, timeout=10).status_code
        except requests.RequestException:
            return 0


def remember_the_past(rig: Rig) -> None:
    """A store with the marks of all messages before, each ending when it would have; to be called before the start.

    A generation of marks is a minute and not a day, so that generations come and go while the soak lasts.
    """
    layout, now_ms = Layout(keys.SHARDS, MARKS), int(time.time() * 1000)
    with rig.redis() as redis, redis.pipeline(transaction=False) as pipe:
        pipe.hset(keys.identity(), mapping={"id": "soak", "shards": keys.SHARDS, "marks": str(MARKS)})
        for beat in range(2 * MARKS_LIFE_S * BEATS_PER_S):  # a bucket lives for twice that from its first mark on
            at_ms = now_ms - beat * 1000 // BEATS_PER_S
            ends_ms = at_ms // GENERATION_MS * GENERATION_MS + 2 * MARKS_LIFE_S * 1000
            name = digest("past", str(beat))
            (bucket, *_), mark = layout.marks_of_callback(MAIN, name, at_ms, 0)
            marks = [(bucket, mark)]
            for number in range(2 * (MEMBERS if beat % 5 == 0 else 1)):
                target, shard = f"{beat} {number}", (beat + number // 2) % keys.SHARDS
                marks += layout.mark_read(MAIN, name, shard, digest("target", target)[:20], at_ms)
            for bucket, mark in marks:
                pipe.hset(bucket, mark, "1")
                pipe.pexpireat(bucket, ends_ms)
        pipe.execute()


def _shared(numbers: "count[int]") -> Iterator[int]:
    """Each thread takes its next one from here; `count` hands out each once."""
    return numbers

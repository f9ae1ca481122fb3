"""Many callers at once, as MIMC is one: each thread keeps a connection, and may say again what was not answered 200."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.system.rig import MAIN, URL_SECRET, Rig, push_token

_AGAIN_AFTER_S = 0.05
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Response:
    """What a callback was answered in the end; `status` 0 where the connection broke. `tries` counts the posts."""

    status: int
    duplicate: bool | None
    retry_after: str | None
    seconds: float
    tries: int = 1


Seen = Callable[[int, Response], None]


def post_all(
    rig: Rig,
    bodies: Sequence[Mapping[str, Any]],
    *,
    app_id: str = MAIN,
    threads: int = 16,
    insist: bool = False,
    seen: Seen = lambda _index, _answer: None,
) -> list[Response]:
    """Post all of them, neighbours at the same time; the answers in the same order.

    With `insist` a callback is posted until it is answered 200. `seen` hears of each answer in the posting thread.
    """
    answers: dict[int, Response] = {}
    work = _shared(enumerate(bodies))

    def call() -> None:
        with Caller(rig, app_id) as caller:
            for index, body in work:
                answers[index] = caller.insist(body) if insist else caller.post(body)
                seen(index, answers[index])

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(call) for _ in range(threads)]:
            done.result()
    return [answers[index] for index in range(len(bodies))]


class Caller:
    """One connection to the web, opened again when it broke."""

    def __init__(self, rig: Rig, app_id: str = MAIN) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(rig.web).netloc, timeout=10)
        self._path = f"/callbacks/mimc/{URL_SECRET[app_id]}"

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def post(self, body: Mapping[str, Any]) -> Response:
        started = time.monotonic()
        try:
            self._connection.request("POST", self._path, json.dumps(body))
            answer = self._connection.getresponse()
            envelope = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return Response(0, None, None, time.monotonic() - started)
        duplicate = (envelope["data"] or {}).get("duplicate")
        return Response(answer.status, duplicate, answer.headers["Retry-After"], time.monotonic() - started)

    def insist(self, body: Mapping[str, Any]) -> Response:
        """The same body again and again, until it is taken."""
        until, tries = time.monotonic() + _PATIENCE_S, 1
        while (answer := self.post(body)).status != 200 and time.monotonic() < until:
            time.sleep(_AGAIN_AFTER_S)
            tries += 1
        return Response(answer.status, answer.duplicate, answer.retry_after, answer.seconds, tries)


def register_all(rig: Rig, accounts: list[str], *, app_id: str, platform: str = "apns") -> dict[str, str]:
    """A phone for each account; the push tokens by account."""
    tokens = {account: push_token() for account in accounts}
    for account, token in tokens.items():
        assert rig.register(account, f"phone-{platform}", token, app_id=app_id, platform=platform).ok
    return tokens


def alerts(rig: Rig) -> Counter[tuple[str, str]]:
    """How often the emulated APNs accepted a text for a device."""
    return Counter((it["device_token"], it["payload"]["aps"]["alert"]["body"]) for it in rig.accepted())


def _shared(items: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """One iterator for many threads."""
    lock, iterator = threading.Lock(), iter(items)

    class Shared(Iterator[tuple[int, Mapping[str, Any]]]):
        def __next__(self) -> tuple[int, Mapping[str, Any]]:
            with lock:
                return next(iterator)

    return Shared()

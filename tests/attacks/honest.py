"""The honest callers, a process of its own: calls at an even pace, each with its time from when it was due.

    python -m tests.attacks.honest < order.json

The order is one JSON object: port, deadline_s, and calls with what, at_s, address, path, headers, body and keep. A call
with `keep` goes over a connection that an earlier one left open, and over a new one where the server has closed that
meanwhile, as HTTP clients do; one without opens its own. Prints a list with {what, ms, status} in the order of the
calls; status is 200, another, or why there was none.
"""

import json
import os
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from typing import Any


class Honest:
    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order
        self._kept: dict[str, deque[HTTPConnection]] = defaultdict(deque)
        self.results: list[dict[str, Any]] = [{} for _ in order["calls"]]

    def run(self) -> None:
        began = time.monotonic()
        threads = []
        for number, call in enumerate(self._order["calls"]):
            due = began + call["at_s"]
            time.sleep(max(0.0, due - time.monotonic()))
            threads.append(threading.Thread(target=self._call, args=(number, call, due)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _call(self, number: int, call: Mapping[str, Any], due: float) -> None:
        try:
            status = str(self._status(call))
        except (OSError, HTTPException) as error:
            status = type(error).__name__
        took_s = time.monotonic() - due
        if status == "200" and took_s > self._order["deadline_s"]:
            status = "too late"
        self.results[number] = {"what": call["what"], "ms": took_s * 1000, "status": status}

    def _status(self, call: Mapping[str, Any]) -> int:
        kept = self._kept[call["address"]]
        if call["keep"]:
            with suppress(IndexError, RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                return self._exchange(kept.pop(), call)
        source = (call["address"], 0)
        return self._exchange(
            HTTPConnection("127.0.0.1", self._order["port"], self._order["deadline_s"], source_address=source), call
        )

    def _exchange(self, connection: HTTPConnection, call: Mapping[str, Any]) -> int:
        try:
            connection.request("POST", call["path"], call["body"], call["headers"])
            answer = connection.getresponse()
            answer.read()
        except BaseException:
            connection.close()
            raise
        if call["keep"] and not answer.will_close:
            self._kept[call["address"]].append(connection)
        else:
            connection.close()
        return answer.status


def main() -> None:
    with suppress(OSError):  # where it may: it measures, and hardly works
        os.nice(-10)
    honest = Honest(json.load(sys.stdin))
    honest.run()
    sys.stdout.write(json.dumps(honest.results))


if __name__ == "__main__":
    main()

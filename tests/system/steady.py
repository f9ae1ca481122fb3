"""MIMC as it posts without a pause, and what became of what was answered 200."""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence

import requests

from tests.system.rig import Rig, offline


class Mimc:
    """Posts messages, one after the other, each until it is answered 200, and waits for no other's sake."""

    def __init__(self, rig: Rig, readers: Sequence[str]) -> None:
        self._rig, self._readers, self._over = rig, readers, threading.Event()
        self.taken: list[str] = []  # the texts that were answered 200
        self._threads = [threading.Thread(target=self._post, args=(number,), daemon=True) for number in range(4)]

    def __enter__(self) -> "Mimc":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _post(self, thread: int) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            text = f"text-{thread}-{number}"
            body = offline("bob", self._readers[number % len(self._readers)], text, 100_000 * thread + number)
            while not self._is_taken(body):
                time.sleep(0.1)
            self.taken.append(text)
            time.sleep(0.01)

    def _is_taken(self, body: dict[str, object]) -> bool:
        try:
            return self._rig.post(body).status_code == 200
        except requests.RequestException:
            return False

    def fates(self) -> tuple[list[str], list[str]]:
        """What was answered 200 and not shown; and what was shown as two alerts."""
        shown = defaultdict[str, set[tuple[str, str]]](set)
        for push in self._rig.accepted():
            shown[push["payload"]["aps"]["alert"]["body"]].add((push["apns_id"], push["collapse_id"]))
        twice = [text for text, pushes in shown.items() if len(pushes) > 1]
        return [text for text in self.taken if not shown[text]], twice

    def wait_for(self, more: int) -> None:
        goal = len(self.taken) + more
        self._rig.wait(lambda: len(self.taken) >= goal, f"{more} more callbacks", 90)

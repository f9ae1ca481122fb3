"""The main job on a store with replicas, whose master dies, is replaced or is cut off while messages come."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.system.replicated_rig import ReplicatedRig
from tests.system.rig import offline, push_token

READERS = [f"reader-{number}" for number in range(8)]


@pytest.fixture
def rig(place: Path) -> Iterator[ReplicatedRig]:
    with ReplicatedRig(place) as it:
        yield it


class Mimc:
    """Posts messages, one after the other, each until it is answered 200, and waits for no other's sake."""

    def __init__(self, rig: ReplicatedRig) -> None:
        self._rig, self._over = rig, threading.Event()
        self.taken: list[str] = []  # the texts that were answered 200
        self._threads = [threading.Thread(target=self._post, args=(number,)) for number in range(4)]

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
            body = offline("bob", READERS[number % len(READERS)], text, 100_000 * thread + number)
            while not self._is_taken(body):
                time.sleep(0.1)
            self.taken.append(text)
            time.sleep(0.01)

    def _is_taken(self, body: dict[str, object]) -> bool:
        try:
            return self._rig.post(body).status_code == 200
        except requests.RequestException:
            return False

    def wait_for(self, more: int) -> None:
        goal = len(self.taken) + more
        self._rig.wait(lambda: len(self.taken) >= goal, f"{more} more callbacks")


@pytest.mark.trial
def test_nothing_is_lost_and_nothing_shown_twice_when_the_master_dies_is_replaced_or_cut_off(
    rig: ReplicatedRig,
) -> None:
    rig.start_web(APP_PROXY_STORE__REPLICAS="1")
    rig.start_workers(2)
    tokens = {account: push_token() for account in READERS}
    for account, token in tokens.items():
        assert rig.register(account, "phone", token).status_code == 200
    rig.wait(lambda: rig.redis().wait(2, 1000) == 2, "the registrations at the replicas")
    with Mimc(rig) as mimc:
        mimc.wait_for(100)
        died = rig.servers.master()
        rig.servers.kill(died)
        mimc.wait_for(200)
        rig.servers.start_server(died)
        rig.wait(lambda: rig.servers.replicas_of(rig.servers.master()) == 2, "the one that died as a replica", 40)
        rig.servers.failover()
        mimc.wait_for(200)
        rig.wait(lambda: rig.servers.replicas_of(rig.servers.master()) == 2, "the one that was replaced", 40)
        with rig.servers.halted(rig.servers.master()):  # like a machine that was cut off
            mimc.wait_for(200)
        mimc.wait_for(200)
    rig.settled()
    shown = defaultdict[str, set[tuple[str, str]]](set)
    for push in rig.accepted():
        shown[push["payload"]["aps"]["alert"]["body"]].add((push["apns_id"], push["collapse_id"]))
    assert not [text for text in mimc.taken if not shown[text]]
    assert not [text for text, pushes in shown.items() if len(pushes) > 1]
    told = rig.readiness()
    assert "replicas" not in told
    assert all(told[name].startswith("unknown") for name in ("persistence", "eviction"))

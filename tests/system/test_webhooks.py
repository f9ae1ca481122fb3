"""Webhooks over the whole service: what MIMC was answered 200 for reaches each endpoint, whatever happens to it."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from proxy.cli import cli
from proxy.local.ports import free_port
from tests.receiver import SECRET, Answer, Receiver, accepting, always
from tests.system.rig import MAIN, URL_SECRET, Process, Rig, offline, push_token

ADDRESS_KEY = "key-in-the-webhooks-address"  # see tests/receiver.py
PROOF = "cHJvb2Ygb2YgbWltYywgbm90IGNoZWNrZWQgaGVyZQ=="
UNCHECKED = {"APP_PROXY_APPS__MAIN__AUTHENTICATION": "ignored"}


def webhook(name: str, url: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "app": "main", "url": url, "secret": SECRET, **more}


class Told:
    """A rig, and every body that MIMC was answered 200 for."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.taken = rig, list[bytes]()
        rig.secret("webhook secret", SECRET)
        rig.secret("key in a webhook's address", ADDRESS_KEY)
        rig.secret("proof", PROOF)

    def post(self, number: int, kind: str = "OFFLINE_MSG", **more: Any) -> bytes:
        """As MIMC wrote it: with blanks of its own, and an id above 2^53. Returns what is to be passed on of it."""
        said = offline("bob", "alice", f"words {number}", number)
        said |= {"msgType": kind, "topicId": 2**63 - number, "authentication": PROOF, "last": [number], **more}
        said |= {"appId": MAIN, "toAccounts": ["alice"]} if "TOPIC" in kind else {}
        assert self.say(said).json()["data"] == {"duplicate": False}
        bare = as_mimc_writes({name: its for name, its in said.items() if name != "authentication"})
        self.taken.append(bare)
        return bare

    def say(self, said: Mapping[str, Any]) -> requests.Response:
        url, headers = f"{self.rig.web}/callbacks/mimc/{URL_SECRET[MAIN]}", {"content-type": "application/json"}
        answer = self.rig.http.post(url, data=as_mimc_writes(said), headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer

    def has_all(self, receiver: Receiver) -> bool:
        return {it.body for it in receiver.accepted} >= set(self.taken)

    def check(self, receiver: Receiver) -> None:
        """All of it came signed, byte for byte, and what came twice had the same id."""
        assert self.has_all(receiver)
        ids: Mapping[bytes, set[str]] = defaultdict(set)
        for it in receiver.received:
            ids[it.body].add(it.id)
            assert it.is_signed
        assert set(ids) == set(self.taken)
        assert all(len(its) == 1 for its in ids.values())
        assert len(set.union(*ids.values())) == len(ids)
        for secret in self.rig.leaks(*self.shown()):
            pytest.fail(secret)

    def shown(self) -> list[str]:
        """What operators see."""
        texts = [self.rig.http.get(f"{self.rig.operator}/{it}", timeout=10).text for it in ("metrics", "readyz")]
        return [*texts, self.command("lanes", "list"), self.command("dead-letters", "list")]

    def command(self, *arguments: str) -> str:
        config = str(self.rig.folder / "proxy.toml")
        result = CliRunner().invoke(cli, [*arguments, "--config", config])
        assert result.exit_code == 0, result.output
        return result.output


def as_mimc_writes(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, separators=(" , ", " :  "), ensure_ascii=False).encode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as it:
        yield it


def test_each_kind_reaches_its_endpoints_once_while_another_is_dead_and_alerts_go_on(
    place: Path, receiver: Receiver
) -> None:
    dead = f"http://127.0.0.1:{free_port()}/?{ADDRESS_KEY}"
    with Receiver() as choosy:
        webhooks = [
            webhook("crm", receiver.url), webhook("dead", dead),
            webhook("choosy", choosy.url, kinds=["NORMAL_MSG"], accounts=["carol"], pass_authentication=True),
        ]  # fmt: skip
        with Rig(place, without=("mimc", "mipush"), webhooks=webhooks) as rig:
            told, token = Told(rig), push_token()
            rig.start_web(workers=1, **UNCHECKED)
            rig.start_worker()
            rig.register("alice", "phone", token)
            kinds = ("NORMAL_MSG", "OFFLINE_MSG", "NORMAL_TOPIC_MSG", "OFFLINE_TOPIC_MSG", "UCTOPIC_MSG")
            for number, kind in enumerate(kinds, 1):
                told.post(number, kind)
            whole = {**offline("carol", "alice", "你好", 9), "msgType": "NORMAL_MSG", "authentication": PROOF}
            assert [told.say(whole).json()["data"]["duplicate"] for _ in range(2)] == [False, True]
            bare = {name: its for name, its in whole.items() if name != "authentication"}
            told.taken.append(as_mimc_writes(bare))
            rig.wait(lambda: told.has_all(receiver) and len(rig.accepted(token)) == 2, "callbacks and alerts")
            told.check(receiver)
            assert len(receiver.received) == len(kinds) + 1
            assert [it.body for it in choosy.received] == [as_mimc_writes(whole)]
            assert "main/webhook-dead" in told.shown()[2]


@pytest.mark.trial
def test_an_endpoint_that_wants_no_more_gets_all_of_it_once_the_operator_says_so(
    place: Path, receiver: Receiver
) -> None:
    receiver.answer = always(410)
    with Rig(place, without=("mimc", "mipush", "apns"), webhooks=[webhook("crm", receiver.url)]) as rig:
        told = Told(rig)
        rig.start_web(workers=1, **UNCHECKED)
        rig.start_worker()
        told.post(1, "NORMAL_MSG")
        rig.wait(lambda: "http 410" in rig.readiness().get("lane main/webhook-crm", ""), "the pause")
        receiver.answer = accepting
        told.post(2, "NORMAL_MSG")
        time.sleep(1.2)  # a probe would have gone out
        assert receiver.accepted == []
        assert '"resumed"' in told.command("lanes", "resume", "main/webhook-crm")
        rig.wait(lambda: told.has_all(receiver), "all of it")
        told.check(receiver)


@pytest.mark.trial
def test_whatever_happens_to_it_each_callback_is_delivered_once_the_endpoint_answers_2xx(place: Path) -> None:
    """Times are short by setting: the endpoint is away for many times the longest pause between two tries."""
    port, neighbour = free_port(), Receiver()
    receiver = Receiver(port=port)
    with neighbour, Rig(
        place, without=("mimc", "mipush", "apns"),
        webhooks=[webhook("crm", receiver.url), webhook("neighbour", neighbour.url)],
    ) as rig:  # fmt: skip
        told, numbers = Told(rig), iter(range(1, 10_000))
        spool = {"APP_PROXY_STORE__SPOOL_DIR": str(place / "spool")}
        rig.start_web(workers=2, **spool, **UNCHECKED)
        worker = rig.start_worker()

        def write(count: int = 20) -> None:
            for _ in range(count):
                number = next(numbers)
                told.post(number, "NORMAL_MSG" if number % 2 else "OFFLINE_MSG")

        def neighbour_has_all() -> None:
            rig.wait(lambda: told.has_all(neighbour), "what the neighbour is to get", 30)

        def worker_is_killed(running: Process) -> Process:
            running.kill()
            return rig.start_worker()

        write()
        rig.wait(lambda: told.has_all(receiver), "the first")
        before = receiver.received
        receiver.close()  # nobody listens
        write()
        neighbour_has_all()
        time.sleep(6)
        worker = worker_is_killed(worker)
        receiver = Receiver(port=port)
        for answer in (always(500), always(302, location=neighbour.url), always(503, retry_after="1"), slowly):
            receiver.answer = answer
            write()
            neighbour_has_all()
            time.sleep(2)
            worker = worker_is_killed(worker)
        rig.store.kill()
        write()
        rig.store = rig.start_store()
        write()
        receiver.answer = accepting
        rig.wait(lambda: told.has_all(neighbour), "what the neighbour is to get", 60)
        receiver.received = [*before, *receiver.received]
        rig.wait(lambda: told.has_all(receiver), "all of it", 60)
        told.check(receiver)
        told.check(neighbour)
        assert not rig.dead_letters(MAIN)
        receiver.close()


def slowly(_webhook_id: str, _number: int) -> Answer:
    """After the worker has given up waiting."""
    time.sleep(2.5)
    return 204, {}

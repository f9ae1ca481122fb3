"""Nothing of the main job costs the store more where it holds more: by what the store says it was asked.

INFO commandstats counts what ran, within scripts too; MONITOR says on which keys, and how far it might have gone.
"""

import asyncio
import os
import re
import secrets
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.store import keys
from proxy.store.connection import async_redis
from proxy.store.queue.history import HistorySweep
from tests.system.rig import MAIN, ROOT, TOPIC, Rig, offline, offline_topic, push_token

RECEIPT_SECRET, PASSWORD = "receipts-of-main-0123456789", "correct-horse-battery"
READS_ALL = {
    "keys", "scan", "sscan", "hscan", "zscan", "smembers", "sinter", "sunion", "sdiff", "hkeys", "hvals", "hgetall",
    "lrange", "sort", "sort_ro", "randomkey",
}  # fmt: skip
# HGETALL of these alone: none has more for more users or messages
BOUNDED = {
    ":account:main:": "one account's devices: devices.per_account",
    ":leftover:main:": "one account's registrations that never ended: one for each device that was changed",
    ":badge:": "one account's unread conversations, at most 200: once a day, and where they are too many",
    "}:clocks$": "machines whose clock is wrong, for /readyz",
    r"}:figures:\d+:\d+$": "a field for each lane and outcome that there was, for the console",
    "}:tokens$": "a few fields for each app, for /readyz",
}
PORTIONS = {"XRANGE", "XREVRANGE", "XREADGROUP", "XAUTOCLAIM", "ZRANGE", "ZRANGEBYSCORE"}


@pytest.mark.trial
def test_no_message_user_or_sweep_reads_all_that_there_is(place: Path) -> None:
    with Rig(place, mipush={"unknown_targets": "ignore"}) as rig:
        variables = with_everything(rig)
        web = rig.start_web(workers=1, **variables)
        main_job(rig, "early", variables)
        before = ran(rig)
        with overheard(rig) as commands:
            main_job(rig, "late", variables)
            rig.wait(lambda: rig.metric(web, "app_proxy_receipts_total") >= 2, "a receipt of each")
        asked = ran(rig) - before
    assert {"xadd", "xreadgroup", "xdel", "hset", "zadd", "hgetall"} <= asked.keys()
    assert asked.keys() & READS_ALL == {"hgetall"}
    wholes = [words[1] for words in commands if words[0].upper() == "HGETALL"]
    assert len(wholes) == asked["hgetall"]
    assert not [name for name in wholes if not re.search("|".join(BOUNDED), name)]
    portions = [words for words in commands if words[0].upper() in PORTIONS]
    assert not [words for words in portions if not is_limited(words)]


def is_limited(words: list[str]) -> bool:
    """Some entries are read, or one; of workers those that lived today, for /readyz."""
    name, first, last = words[1:4]
    return name == keys.workers() or first == last or bool({"COUNT", "LIMIT"} & {word.upper() for word in words})


def ran(rig: Rig) -> Counter[str]:
    with rig.redis() as redis:
        return Counter({
            name.removeprefix("cmdstat_"): found["calls"] for name, found in redis.info("commandstats").items()
        })  # fmt: skip


@contextmanager
def overheard(rig: Rig) -> Iterator[list[list[str]]]:
    """The words of each command that the store carries out meanwhile."""
    commands: list[list[str]] = []
    over = "this is the end"

    def listen(monitor: Any) -> None:
        for said in monitor.listen():
            commands.append(said["command"].split(" "))
            if over in said["command"]:
                return

    with rig.redis() as redis, rig.redis() as another, redis.monitor() as monitor:
        thread = threading.Thread(target=listen, args=[monitor])
        thread.start()
        try:
            yield commands
        finally:
            another.echo(over)
            thread.join()


def with_everything(rig: Rig) -> Mapping[str, str]:
    """Receipts, built-in accounts, and all that alerts can do."""
    settings = rig.folder / "proxy.toml"
    accounts = '\n[auth.accounts]\nkey = { env = "AUTH_ACCOUNTS_KEY" }\n'
    settings.write_text(settings.read_text() + accounts)
    rig.secret("receipt secret", RECEIPT_SECRET)
    rig.secret("password", PASSWORD)
    return {
        "AUTH_ACCOUNTS_KEY": rig.secret("auth.accounts.key", secrets.token_urlsafe(36)),
        "APP_PROXY_APPS__MAIN__MIPUSH__RECEIPTS": rig.web,
        "APP_PROXY_APPS__MAIN__MIPUSH__RECEIPT_SECRET": RECEIPT_SECRET,
        "APP_PROXY_ALERTS__WITHDRAW": "true",
        "APP_PROXY_ALERTS__BADGE": "true",
    }


def main_job(rig: Rig, who: str, variables: Mapping[str, str]) -> None:
    """From registering to signing out, with a worker that has just begun. Of removed devices there are too few for the
    guard to need a count of all: that scans, once a day (device_count.py)."""
    people = [f"{who}-{n}" for n in range(3)]
    gone, dead = f"{who}-gone", push_token()
    worker = rig.start_worker(**variables)
    for account in people:
        for device_id in ("phone", "pad"):
            assert rig.register(account, device_id, push_token()).ok
    rig.http.post(f"{rig.control('apns')}/devices", json={"device_token": dead, "state": "unregistered"}, timeout=5)
    assert rig.register(gone, "phone", dead).ok
    xiaomi = {"phone": who, "package": TOPIC[MAIN], "accounts": people[:1]}
    rig.http.post(f"{rig.control('mipush')}/devices", json=xiaomi, timeout=5).raise_for_status()
    rig.fault("apns", effect="answer", reason="TooManyRequests", times=1)  # a retry
    before = len(rig.accepted())
    for reader in (*people, gone):
        assert rig.post(offline(who, reader, "to one", 1)).ok
    assert rig.post(offline_topic(who, people, "to all", 2)).ok
    rig.wait(lambda: len(rig.accepted()) >= before + 12, "all pushes")
    rig.settled()
    rig.wait(lambda: not devices_of(rig, gone), "the removal")
    ask_for_oneself(rig, people[0])
    sign_in_and_out(rig, f"{who}-signs", variables)
    rig.http.get(f"{rig.operator}/metrics", timeout=5).raise_for_status()
    rig.http.get(worker.facts["metrics"], timeout=5).raise_for_status()
    rig.readiness()
    asyncio.run(sweep_history(rig))
    worker.stop()


def devices_of(rig: Rig, account: str) -> list[Any]:
    bearer = {"Authorization": f"Bearer {rig.bearer(account)}"}
    found: list[Any] = rig.http.get(f"{rig.web}/api/devices?app=main", headers=bearer, timeout=5).json()["data"]
    return found


def ask_for_oneself(rig: Rig, account: str) -> None:
    bearer = {"Authorization": f"Bearer {rig.bearer(account)}"}
    for method, path, body in (
        ("GET", "devices?app=main", None),
        ("GET", "alerts?app=main", None),
        ("PUT", "preferences", {"app": "main", "mutes": [{"account": "ann"}]}),
        ("GET", "preferences?app=main", None),
        ("POST", "account/token", {"appId": MAIN}),
        ("DELETE", "devices/pad?app=main", None),
    ):
        answer = rig.http.request(method, f"{rig.web}/api/{path}", json=body, headers=bearer, timeout=5)
        assert answer.ok, (path, answer.text)


def sign_in_and_out(rig: Rig, account: str, variables: Mapping[str, str]) -> None:
    environment = os.environ | variables | {"APP_PROXY_CONFIG": str(rig.folder / "proxy.toml")}
    command = [sys.executable, "-m", "proxy", "users", "add", account, "--password-stdin"]
    subprocess.run(command, cwd=ROOT, env=environment, input=f"{PASSWORD}\n", text=True, check=True, timeout=30)
    proof = {"account": account, "password": PASSWORD, "app": "main", "device_id": "phone"}
    answer = rig.http.post(f"{rig.web}/auth/login", json=proof, timeout=10)
    assert answer.ok, answer.text
    bearer = {"Authorization": f"Bearer {rig.secret('bearer', answer.json()['data']['access_token'])}"}
    assert rig.http.post(f"{rig.web}/auth/logout", json={"device_id": "phone"}, headers=bearer, timeout=5).ok


async def sweep_history(rig: Rig) -> None:
    """As a worker does each ten seconds and each minute, with notes that are old enough."""
    redis = async_redis(rig.store_address, timeout_s=5)
    await redis.learn_layout()
    history, later = HistorySweep(redis, [MAIN], 10**8), datetime.now(UTC) + timedelta(minutes=20)
    await history.file(later)
    await history.sweep(later)
    await redis.aclose()

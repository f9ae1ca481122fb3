"""Xiaomi's receipts, from the push that asks for them to what follows from them, over the emulated Xiaomi push."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from proxy.store import keys
from proxy.store.keys import Layout
from tests.system.rig import MAIN, ROOT, TOPIC, Rig, offline_topic

SECRET = "receipts-of-main-0123456789"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with (
        tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder,
        Rig(Path(folder) / "r", without=("mimc", "apns"), mipush={"unknown_targets": "ignore"}) as rig,
    ):
        rig.secret("receipt secret", SECRET)
        own = "APP_PROXY_APPS__MAIN__MIPUSH__"
        asking = {f"{own}RECEIPTS": rig.web, f"{own}RECEIPT_SECRET": SECRET}
        rig.start_web(workers=1, **asking)
        rig.start_worker(**asking)
        yield rig


def control(rig: Rig, path: str, body: object = None) -> Any:
    answer = rig.http.post(f"{rig.control('mipush')}/{path}", json=body, timeout=10)
    answer.raise_for_status()
    return answer.json()


def receipts(rig: Rig) -> dict[str, float]:
    """As /metrics has them, by what they say."""
    text = rig.http.get(f"{rig.operator}/metrics", timeout=10).text
    found = re.findall(r'^app_proxy_receipts_total\{.*what="([^"]*)".*\} (.*)$', text, re.MULTILINE)
    return {what: float(value) for what, value in found}


def sent_to(rig: Rig, account: str) -> int:
    return sum(account in entry["targets"] for entry in rig.journal("mipush") if entry["kind"] == "send")


def explained(rig: Rig, account: str) -> str:
    command = [
        sys.executable,
        "-m",
        "proxy",
        "explain",
        "--account",
        account,
        "--config",
        str(rig.folder / "proxy.toml"),
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout


def beside(account: str) -> str:
    """An account whose jobs lie in the same shard, so that they go in one request: alone it gets an answer at once."""
    layout = Layout(keys.SHARDS)
    names = (f"nobody-{number}" for number in count())
    return next(it for it in names if layout.shard_of_account(it) == layout.shard_of_account(account))


def test_a_push_is_delivered_clicked_and_found_to_reach_nobody(rig: Rig) -> None:
    control(rig, "devices", {"phone": "alice's", "accounts": ["alice"], "package": TOPIC[MAIN]})
    nobody = beside("alice")
    members = ["alice", nobody]
    assert rig.post(offline_topic("bob", members, "hello", 1)).status_code == 200
    rig.settled(MAIN)
    rig.wait(lambda: {"delivered", "invalid target"} <= receipts(rig).keys(), "the receipts")
    assert control(rig, "phones/alice's/click") == {"clicked": 1}
    rig.wait(lambda: "clicked" in receipts(rig), "the click")
    assert receipts(rig) == {"delivered": 1, "invalid target": 1, "clicked": 1}
    text = rig.http.get(f"{rig.operator}/metrics", timeout=10).text
    assert 'app_proxy_delivery_seconds_count{channel="mipush"} 1.0' in text

    rig.wait(lambda: "  clicked  " in explained(rig, "alice"), "the click in the history")
    lines = [line for line in explained(rig, "alice").splitlines() if " main/mipush" in line]
    assert [line.split()[1] for line in lines] == ["planned", "sent", "answered", "delivered", "clicked"]
    assert f"reported    {nobody} main/mipush  invalid target" in explained(rig, nobody)

    rig.wait(lambda: any(":unknown:" in key for key in rig.redis().keys("*")), "that nobody has set the account")
    assert rig.post(offline_topic("bob", members, "hello again", 2)).status_code == 200
    rig.settled(MAIN)
    assert (sent_to(rig, "alice"), sent_to(rig, nobody)) == (2, 1)
    assert not rig.dead_letters(MAIN)

"""The console of real web processes: an operator rings one phone of two, and finds what became of the alert."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from proxy.auth.operators import Operators
from proxy.auth.passwords import Argon2Passwords
from proxy.usecases.trial_message import SENDER
from tests.system.rig import Rig, push_token

PASSWORD = "a-long-password-of-olga"


@pytest.fixture
def rig(place: Path) -> Iterator[Rig]:
    with Rig(place, without=("mimc", "mipush")) as it:
        yield it


def start_web(rig: Rig, folder: Path) -> None:
    operators = Operators(folder / "operators.sqlite3", Argon2Passwords(), timedelta(hours=1))
    operators.add("olga", PASSWORD, datetime.now(UTC))
    operators.close()
    rig.start_web(APP_PROXY_CONSOLE__WRITES="true", APP_PROXY_CONSOLE__OPERATORS=str(folder / "operators.sqlite3"))


def post(rig: Rig, browser: requests.Session, page: str, path: str, **fields: str) -> requests.Response:
    """As a browser sends a form of `page`."""
    shown = browser.get(f"{rig.operator}{page}", timeout=10)
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', shown.text)
    assert found, shown.text
    sent = {"csrf": found[1], **fields}
    return browser.post(f"{rig.operator}{path}", data=sent, headers={"Origin": rig.operator}, timeout=10)


def test_an_operator_rings_one_phone_and_finds_what_became_of_the_alert(rig: Rig, tmp_path: Path) -> None:
    start_web(rig, tmp_path)
    tokens = {device: push_token() for device in ("phone", "pad")}
    for device, token in tokens.items():
        rig.register("alice", device, token).raise_for_status()
    rig.start_worker()
    with requests.Session() as browser:
        signed = post(rig, browser, "/console/sign-in", "/console/sign-in", name="olga", password=PASSWORD)
        assert "Sign out" in signed.text
        page = "/console/devices?account=alice"
        sent = post(rig, browser, page, "/console/devices/test", account="alice", app="main", device="pad")
        assert sent.status_code == 200
        assert "/console/find" in sent.url
        (push,) = rig.wait(lambda: rig.accepted(tokens["pad"]), "the test alert")
        assert push["payload"]["aps"]["alert"]["title"] == SENDER
        rig.wait(lambda: "answered" in browser.get(sent.url, timeout=10).text, "the end of its timeline")
    assert rig.accepted(tokens["phone"]) == []
    assert PASSWORD not in rig.everything_printed()

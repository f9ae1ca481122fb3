"""`app-proxy send-test` rings real phones of the emulators, by a real worker, and says what happened."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.domain.devices import Device, Platform
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.usecases.trial_message import SENDER
from tests.system.rig import OTHER, Rig, push_token

_APP = "other"  # its Xiaomi phones have to register


@pytest.fixture
def rig(place: Path) -> Iterator[Rig]:
    with Rig(place, without=("mimc", "mipush")) as it:
        yield it


def register(rig: Rig, device_id: str, token: str) -> None:
    registry = RedisDeviceRegistry(Store(rig.store_address), {_APP: OTHER})
    registry.register(Device(_APP, "alice", device_id, Platform.APNS, token, datetime.now(UTC)))


def send_test(rig: Rig, *options: str) -> tuple[int, str]:
    argv = [sys.executable, "-m", "proxy", "send-test", "--account", "alice", "--app", _APP, *options]
    process = rig.start("send-test", argv)
    code = process.popen.wait(120)
    return code, process.log.read_text()


def test_it_rings_tells_its_way_and_has_a_second_client_send_the_same(rig: Rig) -> None:
    one, two = push_token(), push_token()
    register(rig, "phone", one)
    rig.start_worker()
    code, told = send_test(rig, "--via", "apns2", "--wait", "60")
    assert code == 0, told
    assert "1 of 1: the provider took it." in told
    assert "phone               accepted                        accepted" in told
    by_worker, by_mopyapns = rig.accepted(one)
    assert by_worker["payload"] == by_mopyapns["payload"]
    assert by_worker["payload"]["aps"]["alert"]["title"] == SENDER
    assert by_worker["payload"]["aps"]["alert"]["body"].startswith("A test alert, ")
    assert by_worker["collapse_id"] == by_mopyapns["collapse_id"]

    register(rig, "gone", two)
    dead = {"device_token": two, "state": "unregistered"}
    rig.http.post(f"{rig.control('apns')}/devices", json=dead, timeout=10).raise_for_status()
    code, told = send_test(rig, "--wait", "60")
    assert code == 1, told
    assert "1 of 2 rang. The first that did not: device gone (docs" in told

"""What a demo says of its phones, of journals like the emulators' and a service that takes registrations."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from flask.typing import ResponseReturnValue

from proxy.emulators.control import Fault, FaultBook, Journal, control_blueprint
from proxy.emulators.server import threaded_server
from proxy.local.apps import PhoneApps
from proxy.local.phones import Phones
from proxy.local.processes import DemoEnvironment, Ports

TOKEN = "ab" * 32


@dataclass
class World:
    apns: Journal = field(default_factory=Journal)
    mipush: Journal = field(default_factory=Journal)
    sender: Journal = field(default_factory=Journal)
    faults: FaultBook = field(default_factory=FaultBook)
    registered: list[tuple[str, Any]] = field(default_factory=list)

    def apps(self) -> list[Flask]:
        """Of the three emulators, and of the service."""
        made = [Flask(f"emulator-{number}") for number in range(3)]
        for app, journal in zip(made, (self.apns, self.mipush, self.sender), strict=True):
            app.register_blueprint(control_blueprint(journal, self.faults, ["answer"]))
        web = Flask("web")

        @web.put("/api/devices/<device_id>")
        def take(device_id: str) -> ResponseReturnValue:
            assert request.headers["Authorization"].startswith("Bearer ")
            self.registered.append((device_id, request.get_json()))
            return {"code": 200}

        return [*made, web]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def environment(world: World, tmp_path: Path) -> Iterator[DemoEnvironment]:
    servers = [threaded_server(app, "127.0.0.1", 0) for app in world.apps()]
    threads = [threading.Thread(target=it.serve_forever, kwargs={"poll_interval": 0.01}) for it in servers]
    for thread in threads:
        thread.start()
    apns, mipush, sender, web = (server.server_port for server in servers)
    ports = Ports(web, 1, 1, 1, 1, apns, mipush, sender)
    yield DemoEnvironment(tmp_path, ports, "k" * 40, "u" * 20, "")
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


def push(token: str, payload: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {"device_token": token, "accepted": True, "status": 200, "collapse_id": "m1", "payload": payload, **facts}


def alert(words: str) -> dict[str, Any]:
    return {"aps": {"alert": {"title": "bob", "body": words}}}


def lines(phones: Phones) -> list[str]:
    return [str(event) for event in phones.new_events()]


def test_each_phone_says_what_it_shows_and_what_goes(world: World, environment: DemoEnvironment) -> None:
    apps = PhoneApps(environment)
    assert apps.register("alice", "alices-iphone", platform="apns", push_token=TOKEN).ok
    assert world.registered == [("alices-iphone", {"app": "demo", "platform": "apns", "push_token": TOKEN})]
    world.apns.write(**push(TOKEN, alert("was there before")))
    phones = Phones(environment, apps)
    world.apns.write(**push(TOKEN, alert("hello")))
    world.apns.write(**push("cd" * 32, alert("unnamed")))
    world.apns.write(**push(TOKEN, alert("refused"), accepted=False, status=503))
    world.apns.write(**push(TOKEN, {"aps": {"badge": 3}}))
    world.apns.write(**push(TOKEN, {"aps": {"content-available": 1}, "mimc": {"message": "m1"}}))
    xiaomi = {"outcome": "accepted", "notify_id": 7}
    world.mipush.write(**xiaomi, kind="send", shown_title="bob", shown_description="hi", shown_on=["carols-xiaomi"])
    world.mipush.write(**xiaomi, kind="revoke", gone_from=["carols-xiaomi"])
    oppo = {"outcome": "accepted", "device_id": "doras-oppo", "account": "dora", "message_id": "m1"}
    world.sender.write(**oppo, type="alert", title="bob", body="ho")
    world.sender.write(**oppo, type="withdrawal")
    assert lines(phones) == [
        'alices-iphone  shows  "bob: hello"',
        'iPhone cdcd... shows  "bob: unnamed"',
        'alices-iphone  badge  "3"',
        'alices-iphone  drops  "bob: hello"',
        'carols-xiaomi  shows  "bob: hi"',
        'carols-xiaomi  drops  "bob: hi"',
        'doras-oppo     shows  "bob: ho"',
        'doras-oppo     drops  "bob: ho"',
    ]
    assert lines(phones) == []


def test_an_app_that_apns_called_gone_is_opened_again_when_the_fault_has_ended(
    world: World, environment: DemoEnvironment
) -> None:
    apps = PhoneApps(environment)
    apps.register("alice", "alices-iphone", platform="apns", push_token=TOKEN)
    phones = Phones(environment, apps)
    world.faults.order(Fault("answer", reason="Unregistered"))
    world.apns.write(**push(TOKEN, alert("hello"), accepted=False, status=410))
    assert lines(phones) == []
    world.faults.clear()
    assert lines(phones) == ['alices-iphone  opens  "the app, which registers the phone again"']
    assert [device for device, _ in world.registered] == ["alices-iphone", "alices-iphone"]
    assert lines(phones) == []

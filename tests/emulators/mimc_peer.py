"""A running emulated MIMC, a client of it, and a listener for what it posts."""

import base64
import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from proxy.emulators.mimc import Mimc, MimcConfig, mimc_app
from proxy.emulators.server import threaded_server

APP_ID, OTHER_APP_ID = "2882303761517000001", "2882303761517000002"
APP_SECRET, OTHER_SECRET = "PHqmE1sJ7uCk4eT0Yw9Zbg==", "c2Vjb25kLXNlY3JldC0xNg=="
ASKED = {"appId": int(APP_ID), "appKey": "5800000000001", "appSecret": APP_SECRET, "appAccount": "1000"}


class Listener:
    """Where callbacks arrive. Answers with `statuses` in turn, then with 200."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.content_types: set[str] = set()
        self.statuses: list[int] = []
        self.answer = b'{"code":200,"data":{"duplicate":true}}'
        listener = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                listener.bodies.append((self.path, json.loads(content)))
                listener.content_types.add(self.headers["Content-Type"])
                self.send_response(listener.statuses.pop(0) if listener.statuses else 200)
                self.send_header("Content-Length", str(len(listener.answer)))
                self.end_headers()
                self.wfile.write(listener.answer)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def by_kind(self) -> dict[str, dict[str, Any]]:
        return {body["msgType"]: body for _, body in self.bodies}


class Emulator:
    """A running emulator and a client without keep-alive surprises."""

    def __init__(self, announced: dict[str, Any]) -> None:
        self.announced = announced
        self.url, self.port = str(announced["url"]), int(announced["port"])
        self.session = requests.Session()
        self.session.trust_env = False

    def token(self, **changes: Any) -> requests.Response:
        return self.session.post(f"{self.url}/api/account/token", json=ASKED | changes, timeout=60)

    def api(self, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        """A call of MIMC's API."""
        return self.session.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=60)

    def control(self, method: str, path: str, body: object = None) -> Any:
        reply = self.session.request(method, f"{self.url}/_emulator/{path}", json=body, timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def fault(self, **fault: Any) -> None:
        self.control("POST", "faults", fault)

    def write(self, **order: Any) -> dict[str, str]:
        """Carry out an order and wait until MIMC has nothing more to say about it."""
        ids: dict[str, str] = self.control("POST", "messages", {"app_id": APP_ID} | order)
        assert self.control("GET", "callbacks/pending?wait_ms=50000") == {"pending": 0}
        return ids

    def journal(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.control("GET", "journal")["entries"]
        return entries


@contextmanager
def running(folder: Path, settings: str) -> Iterator[tuple[Emulator, "subprocess.Popen[str]"]]:
    file = folder / "mimc.toml"
    file.write_text(settings)
    command = [sys.executable, "-m", "proxy", "emulate", "mimc", "--config", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            emulator = Emulator(json.loads(process.stdout.readline()))
            with emulator.session:
                yield emulator, process
        finally:
            process.terminate()
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")


@contextmanager
def serving(settings: str) -> Iterator[Emulator]:
    """As running, but in a thread of this process, which starts at once."""
    mimc = Mimc(MimcConfig.model_validate(tomllib.loads(settings)["mimc"]))
    server = threaded_server(mimc_app(mimc), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    emulator = Emulator({"url": f"http://127.0.0.1:{server.server_port}", "port": server.server_port})
    try:
        with emulator.session:
            yield emulator
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        mimc.webhooks.close()


def settings(listener: Listener, head: str = "") -> str:
    return f"""
        [mimc]
        time_scale = 0.002
        callback_timeout_s = 60
        {head}
        [[mimc.apps]]
        app_id = "{APP_ID}"
        app_key = "5800000000001"
        app_secret = "{APP_SECRET}"
        callback_url = "{listener.url}/one/url-secret"
        [[mimc.apps]]
        app_id = {OTHER_APP_ID}
        app_key = "5800000000002"
        app_secret = "{OTHER_SECRET}"
        package = "com.example.other"
        instant_callback_url = "{listener.url}/two/instant"
        offline_callback_url = "{listener.url}/two/offline"
    """


@contextmanager
def listening_for_callbacks() -> Iterator[Listener]:
    listener = Listener()
    thread = threading.Thread(target=listener.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield listener
    listener.server.shutdown()
    listener.server.server_close()
    thread.join()


# --- for calls of the API


APP_KEY = "5800000000001"
APP = {"appId": APP_ID, "appKey": APP_KEY, "appSecret": APP_SECRET}
PUSH = APP | {"fromAccount": "system", "fromResource": "resWeb", "msg": "hello", "msgType": ""}


def token_of(mimc: Emulator, account: str, **changes: Any) -> dict[str, str]:
    """The header of a user's calls."""
    return {"token": mimc.token(appAccount=account, **changes).json()["data"]["token"]}


def data(reply: requests.Response) -> Any:
    assert (reply.status_code, reply.json()["code"]) == (200, 200), reply.text
    return reply.json()["data"]


def code(reply: requests.Response) -> int:
    assert (reply.status_code, reply.json()["data"]) == (200, None), reply.text
    return int(reply.json()["code"])


def group(mimc: Emulator, owner: str, *others: str, **more: str) -> str:
    body = {"topicName": "a group", "accounts": ",".join(others)} | more
    made = data(mimc.api("POST", f"/api/topic/{APP_ID}", body, **token_of(mimc, owner)))
    return str(made["topicInfo"]["topicId"])


def settled(mimc: Emulator) -> None:
    assert mimc.control("GET", "callbacks/pending?wait_ms=50000") == {"pending": 0}


def ask(mimc: Emulator, path: str, asker: str, /, **body: Any) -> requests.Response:
    return mimc.api("POST", f"/api/msg/{path}", body, **token_of(mimc, asker))


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()

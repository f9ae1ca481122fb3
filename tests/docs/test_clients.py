"""The snippets of docs/clients: each compiled or run where the machine has the tools, against this service's routes."""

import io
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from proxy.domain.transfers import Response
from tests.web.world import World, app_section, bearer, mipush_section, settings

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS, HERE = ROOT / "docs/clients", ROOT / "tests/docs/clients"
ANSWER = {
    "code": 200,
    "message": "success",
    "data": {"appAccount": "1000", "token": "t", "miUserId": "123456789012345678"},
}
GOOD, BAD = bearer()["Authorization"].removeprefix("Bearer "), "no-bearer"


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Say nothing."""


@pytest.fixture
def world() -> World:
    world = World(settings({"main": app_section(mipush=mipush_section(address="regid"))}))
    world.tokens.answer = Response(200, {"content-type": "application/json"}, json.dumps(ANSWER).encode())
    return world


@pytest.fixture
def service(world: World) -> Iterator[str]:
    def whole(environ: dict[str, Any], start_response: Any) -> Any:
        """As our server hands a request over: its body is there, and ends."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return world.app({**environ, "wsgi.input": io.BytesIO(body)}, start_response)

    with make_server("127.0.0.1", 0, whole, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} here: the snippet is not tried")
    return path


def said_by(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Android snippet, with stubs of the SDKs."""
    folder = tmp_path_factory.mktemp("classes")
    sources = [SNIPPETS / "android/ChatSession.java", HERE / "Run.java", *(HERE / "stubs").rglob("*.java")]
    options = ["--release", "8", "-Xlint:all,-options", "-Werror", "-d", str(folder)]
    said_by(tool("javac"), *options, *map(str, sources))
    return folder


def test_the_android_snippet_signs_in_registers_and_signs_out(world: World, service: str, classes: Path) -> None:
    command = [tool("java"), "-Xshare:auto", "-cp", str(classes), "Run", service, "1000", GOOD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdin
        assert run.stdout
        said = [run.stdout.readline().rstrip("\n") for _ in range(3)]
        assert [json.loads(said[0].removeprefix("login ")), *said[1:]] == [ANSWER, "set 1000", "registered"]
        (device,) = world.devices.stored.values()
        assert (device.account, device.device_id, device.locale) == ("1000", "phone", "zh-Hans-CN")
        assert device.push_token == 'reg\\id"1'
        run.stdin.write("\n")
        run.stdin.close()
        assert run.stdout.read().splitlines() == ["unset 1000", "logout"]
    assert run.returncode == 0
    assert world.devices.stored == {}


def test_the_web_snippet_signs_in_at_the_start_and_when_the_page_is_looked_at_again(service: str) -> None:
    said = said_by(tool("node"), str(HERE / "run_web.js"), str(SNIPPETS / "web/chat.js"), service, GOOD)
    assert [json.loads(line.removeprefix("login ")) for line in said[:-1]] == [ANSWER, ANSWER]
    assert said[-1] == "logout"


def test_the_web_snippet_tells_the_sdk_why_there_is_no_token(service: str) -> None:
    said = said_by(tool("node"), str(HERE / "run_web.js"), str(SNIPPETS / "web/chat.js"), service, BAD)
    assert json.loads(said[0].removeprefix("login "))["code"] == 401


def test_the_mini_program_snippet_fetches_before_it_signs_in(service: str) -> None:
    runner, snippet = str(HERE / "run_miniprogram.js"), str(SNIPPETS / "miniprogram/chat.js")
    login, code, out = said_by(tool("node"), runner, snippet, service, GOOD)
    assert (json.loads(login.removeprefix("login ")), code, out) == (ANSWER, "code 200", "logout")
    assert said_by(tool("node"), runner, snippet, service, BAD) == ["code 401", "logout"]


def test_the_service_extension_is_swift() -> None:
    """Its types need Apple's SDK, which is on macOS alone: elsewhere it is parsed."""
    said_by(tool("swiftc"), "-parse", str(SNIPPETS / "ios/NotificationService.swift"))


def test_the_service_extension_reads_what_a_push_says() -> None:
    """As texts: whatever member the snippet names is one that payload.py writes."""
    swift = (SNIPPETS / "ios/NotificationService.swift").read_text()
    payload = (ROOT / "proxy/channels/apns/payload.py").read_text()
    for member in ("sender", "group", "avatar"):
        assert f'told["{member}"]' in swift
        assert f'"{member}"' in payload

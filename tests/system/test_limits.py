"""Limits as they are shipped: behind a proxy, over several processes, and with their own store away."""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.local.ports import free_port
from proxy.store.server.embedded import ensure_store, stop_store
from tests.mimc.upstream import answering, upstream
from tests.mimc.upstream import http as http_answer
from tests.system.test_web import GOLDEN, Reply, Web, ask, await_listeners, configuration, speak, start
from tests.web.world import bearer

pytestmark = pytest.mark.system

PATH = "/api/account/token"


@contextmanager
def running(place: Path, limits: str) -> Iterator[Web]:
    """gunicorn with two processes, a store and a TokenService, and these lines in [limits]."""
    with upstream(answering(http_answer(GOLDEN))) as mimc:
        ports, store = (free_port(), free_port()), place / "store"
        text = configuration(*ports, ensure_store(store), mimc.url)
        (place / "proxy.toml").write_text(f"{text}\n[limits]\n{limits}\n")
        (place / "tmp").mkdir()
        web = Web(start(place), *ports, place)
        try:
            await_listeners(web)
            yield web
        finally:
            web.process.terminate()
            try:
                web.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                web.process.kill()
                web.process.wait()
            stop_store(store)


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="limits-", dir="/tmp") as name:
        yield Path(name)


def call(web: Web, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(web.public, "POST", PATH, {}, bearer() | named)


def assert_soon(look: Callable[[], bool], seconds: float = 20) -> None:
    """Log lines are written some 100 ms after the answer."""
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_clients_behind_a_named_proxy_have_limits_of_their_own_over_all_processes(place: Path) -> None:
    with running(place, 'trusted_proxies = ["127.0.0.1"]\ntoken_per_address = "4/hour"') as web:
        mine = [call(web, X_Forwarded_For="2001:db8::1, 2001:db8:7::1") for _ in range(6)]
        assert [it.status for it in mine] == [200] * 4 + [429] * 2
        assert mine[-1].envelope == {"code": 429, "message": "too many calls by this address", "data": None}
        assert 3500 < int(mine[-1].headers["retry-after"]) <= 3600
        assert call(web, X_Forwarded_For="2001:db8:7::2").status == 429  # the same /64
        assert call(web, X_Forwarded_For="2001:db8:7:1::1").status == 200
        assert (
            call(web, Forwarded="for=198.51.100.9").status == 200
        )  # only X-Forwarded-For counts: it is the proxy's own
        assert_soon(lambda: '"address":"2001:db8:7::1"' in web.log().replace('": "', '":"'))
        metrics = ask(web.operator, "GET", "/metrics").body.decode()
        assert 'app_proxy_rate_limited_total{by="address",route="token"} 3.0' in metrics


def test_without_its_own_store_the_limiter_holds_up_no_token(place: Path) -> None:
    with running(place, f'url = "unix://{place}/nobody"') as web:
        for _ in range(3):
            assert call(web).body == GOLDEN
        metrics = ask(web.operator, "GET", "/metrics").body.decode()
        assert 'app_proxy_rate_limiter_unavailable_total{route="token"} 3.0' in metrics


def test_no_answer_tells_a_version_and_every_one_has_the_security_headers(place: Path) -> None:
    with running(place, "") as web:
        for answer in (call(web), ask(web.operator, "GET", "/metrics"), speak(web.public, b"nonsense\r\n\r\n")):
            assert answer.headers.get("server", "gunicorn") == "gunicorn"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_no_header_changes_the_path_that_was_called(place: Path) -> None:
    with running(place, "") as web:
        for name in ("SCRIPT_NAME", "PATH_INFO"):
            request = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{name}: /api\r\nContent-Length: 0\r\n\r\n"
            assert speak(web.public, request.encode()).status == 401

"""The sender that docs/channels-http.md shows takes what a worker sends, and nothing else."""

import asyncio
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from proxy.channels.factory import TransportFactory
from proxy.channels.http.wire import HttpWire
from proxy.channels.transfer import Limits
from proxy.domain.devices import Platform
from proxy.domain.outcomes import Accepted, OurFault, Outcome
from proxy.domain.transfers import Request, Response
from proxy.settings import HttpSettings
from tests.channels.pushes import WEBHOOK_SECRET, an_alert, http_settings, to_device

PAGE = Path(__file__).resolve().parents[2] / "docs/channels-http.md"
_PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PUSH = to_device(an_alert("Li Lei", "hello"), "huawei:abc", platform=Platform.HTTP)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (program,) = _PROGRAM.findall(PAGE.read_text())
    assert len(program.splitlines()) <= 35
    monkeypatch.setenv("SENDER_SECRET", WEBHOOK_SECRET)
    names: dict[str, Any] = {"__name__": "sender"}
    exec(compile(program, PAGE.name, "exec"), names)  # noqa: S102  it is our own page
    names["Sender"].log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), names["Sender"]) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def outcomes(settings: HttpSettings, *requests: Request) -> list[Outcome]:
    wire = HttpWire(settings)

    async def run() -> list[Outcome]:
        factory = TransportFactory(Limits(), lambda _: None)
        transport, found = factory.http(settings), list[Outcome]()
        for request in requests:
            await transport.reserve(1)
            answer = await transport.send(request, float("inf"))
            assert isinstance(answer, Response), answer
            found += wire.read([PUSH], answer, now())
        await factory.aclose()
        return found

    return asyncio.run(run())


def now() -> datetime:
    return datetime.now(UTC)


def test_it_takes_an_alert_once_and_a_check_and_refuses_what_is_not_ours(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = http_settings(url=url)
    wire = HttpWire(settings)
    alert, check = wire.build([PUSH], "", now()), wire.build_check("check-1", now())
    forged = replace(alert, body=alert.body.replace(b"hello", b"HELLO"))
    old = wire.build([PUSH], "", now() - timedelta(minutes=6))
    assert outcomes(settings, alert, alert, check, forged, old) == [
        Accepted(), Accepted(), Accepted(), OurFault("http 401"), OurFault("http 401"),
    ]  # fmt: skip
    assert capsys.readouterr().out.splitlines() == ["huawei:abc Li Lei hello"]

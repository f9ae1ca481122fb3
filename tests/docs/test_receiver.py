"""The receiver that docs/webhooks.md shows takes what a worker sends, once, and nothing else."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from proxy.channels.webhooks.wire import WebhookWire
from proxy.domain.forwards import Forward
from proxy.domain.transfers import Request
from proxy.settings import WebhookSettings
from tests.receiver import SECRET

PAGE = Path(__file__).resolve().parents[2] / "docs/webhooks.md"
_PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OTHER_SECRET = "whsec_" + "YW5vdGhlciBvZiB3ZWJob29rcywgMjQr"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    (program,) = _PROGRAM.findall(PAGE.read_text())
    assert len(program.splitlines()) <= 20
    monkeypatch.setenv("CRM_SECRET", SECRET)
    names: dict[str, Any] = {}
    exec(compile(program, PAGE.name, "exec"), names)  # noqa: S102  it is our own page
    client: FlaskClient = names["app"].test_client()
    return client


def wire(*secrets: str) -> WebhookWire:
    url = "https://crm.example.com/hooks"
    return WebhookWire(WebhookSettings.model_validate({"name": "crm", "app": "main", "url": url, "secrets": secrets}))


def post(receiver: FlaskClient, request: Request, body: bytes | None = None) -> int:
    headers = dict(line.split(": ", 1) for line in request.headers if ": " in line)
    return receiver.post("/hooks", data=request.body if body is None else body, headers=headers).status_code


def test_it_takes_a_callback_once_and_a_check_and_refuses_what_is_not_ours(
    receiver: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    now, body = datetime.now(UTC), '{"msgType":"NORMAL_MSG","fromAccount":"ann","payload":"你好"}'.encode()
    forward = Forward("main", "webhook-crm", "one", "NORMAL_MSG", now, body)
    ours = wire(SECRET).build(forward, now)
    rotating = wire(OTHER_SECRET, SECRET).build(forward, now + timedelta(seconds=1))
    assert [post(receiver, it) for it in (ours, ours, rotating)] == [204] * 3
    assert post(receiver, wire(SECRET).build_check("check-1", now)) == 204
    old, foreign = wire(SECRET).build(forward, now - timedelta(minutes=6)), wire(OTHER_SECRET).build(forward, now)
    assert [post(receiver, old), post(receiver, foreign), post(receiver, ours, body + b" ")] == [401] * 3
    assert capsys.readouterr().out.splitlines() == ["NORMAL_MSG ann", "check None"]

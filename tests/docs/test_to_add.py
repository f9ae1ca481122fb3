"""docs/architecture.md says what a new push channel touches; the channel `http` shows whether that is all."""

import re
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.auth import Authenticated, Authenticator, Credentials, Refused, Unavailable
from proxy.channels.common import to_json
from proxy.domain.jobs import Job, Push
from proxy.domain.kinds import Kind, MessageType
from proxy.domain.outcomes import Accepted, Deferred, Impossible, Outcome
from proxy.domain.transfers import Request, Response
from proxy.ports import Wire
from tests.docs.test_pages import ROOT

OF_HTTP = re.compile(
    r"Platform\.HTTP|\bHttp(Settings|Wire)\b|\bSenderConfig\b"
    r"|(channels|emulators|check_config)\.http\b|^from proxy\.channels import .*\bHTTP\b",
    re.MULTILINE,
)
OF_ANY = re.compile(r"Platform\.(?!APNS else)\w+|\b(Apns|Mipush|Http)(Settings|Wire)\b|channels\.(apns|mipush|http)\b")


def to_add_a_channel() -> str:
    page = (ROOT / "docs/architecture.md").read_text()
    return page.partition("- **a push channel**")[2].partition("- **a way of proving users**")[0]


def test_every_file_that_knows_the_channel_http_is_in_the_list() -> None:
    ours = [it for it in (ROOT / "proxy").rglob("*.py") if "emulators" not in it.parts]  # they have names of their own
    files = [it for it in ours if OF_HTTP.search(it.read_text())]
    told = [re.sub(r"/http(?=[/.])", "/NAME", str(it.relative_to(ROOT / "proxy"))) for it in files]
    section = to_add_a_channel()
    missing = [it for it in told if f"`{it}`" not in section and f"`{it.rpartition('/')[0]}/`" not in section]
    assert len(files) > 8
    assert missing == []


@pytest.mark.parametrize("part", ["store", "worker"])
def test_store_and_worker_name_no_channel(part: str) -> None:
    named = {
        str(it.relative_to(ROOT / "proxy"))
        for it in (ROOT / "proxy" / part).rglob("*.py")
        if OF_ANY.search(it.read_text())
    }
    assert named <= {"store/history_records.py"}


OF_A_CHANNEL = (Accepted, Deferred, Impossible, Job, Push, Request, Response, Sequence, datetime, to_json)
OTHERS = (Authenticated, Credentials, Kind, MessageType, Refused, Unavailable)
NAMES: dict[str, Any] = {it.__name__: it for it in (*OF_A_CHANNEL, *OTHERS)} | {
    "Hashable": Hashable,
    "Outcome": Outcome,
    "SESSIONS": {"gw_1": "alice"},
    "URL": "https://acme.example",
}
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
A_TYPE, A_BACKEND, A_CHANNEL = BLOCKS


def made(block: str, name: str) -> Any:
    known = dict(NAMES)
    exec(block, known)  # noqa: S102  the page's own code is what is tried
    return known[name]()


def test_the_message_type_of_the_page_is_a_row() -> None:
    assert eval(A_TYPE, dict(NAMES)).kind is Kind.PICTURE  # noqa: S307  as above


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        ("Bearer gw_1", Authenticated("alice", None, "gateway")),
        ("Bearer gw_2", Refused("gateway: unknown", (("gateway", "unknown"),))),
        ("Bearer other", Refused("no credentials that any backend knows")),
    ],
)
def test_the_backend_of_the_page_proves_users(header: str, verdict: object) -> None:
    backend = Authenticator({"gateway": made(A_BACKEND, "Gateway")})
    assert backend.authenticate(Credentials(header, {})) == verdict


def test_the_channel_of_the_page_is_a_wire() -> None:
    wire: Wire = made(A_CHANNEL, "AcmeWire")
    assert {it for it in vars(Wire) if not it.startswith("_")} <= {it for it in dir(wire) if not it.startswith("_")}
    push: Any = SimpleNamespace(address="phone-1")
    assert wire.refuse(push) is None
    request = wire.build([push], "key", datetime.now(UTC))
    assert (request.url, request.body) == ("https://acme.example", b'{"to":"phone-1"}')
    assert wire.read([push], Response(200, {}, b""), datetime.now(UTC)) == [Accepted()]
    assert wire.read([push], Response(503, {}, b""), datetime.now(UTC)) == [Deferred("http 503")]

"""docs/architecture.md says what a new push channel touches; the channel `http` shows whether that is all."""

import re

import pytest

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

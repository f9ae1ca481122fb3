"""What the worker shows of keys and certificates: files, and a server that does not answer."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.certificates import ends_in_file
from proxy.emulators.certificates import ensure_certificates
from proxy.metrics import exposition
from proxy.wiring.worker import _key_ages
from tests.web.world import app_section, mipush_section, settings

SINCE = datetime(2025, 11, 30, 12, tzinfo=UTC)


def shown() -> dict[str, float]:
    lines = [it for it in exposition().decode().splitlines() if "timestamp_seconds{setting=" in it]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def test_a_worker_shows_since_when_a_key_is_there_and_when_the_last_certificate_of_a_file_ends(tmp_path: Path) -> None:
    tls = ensure_certificates(tmp_path / "tls")
    key, bundle = tmp_path / "key.p8", tmp_path / "ca.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    os.utime(key, (SINCE.timestamp(), SINCE.timestamp()))
    bundle.write_bytes(tls.ca_file.read_bytes() + tls.certificate.read_bytes())
    apns = {"team_id": "T" * 10, "key_id": "K" * 10, "key_file": str(key), "topic": "com.example.chat"}
    mipush = mipush_section(base_url="https://127.0.0.1:1", ca_file=str(bundle))  # where no server is
    app = app_section(apns=apns | {"production_url": "http://127.0.0.1:1", "sandbox": False}, mipush=mipush)
    asyncio.run(_key_ages(settings({"main": app | {"base_url": "http://127.0.0.1:1"}})).look())
    found = shown()
    assert found["apps.main.apns.key_file"] == SINCE.timestamp()
    assert found["apps.main.mipush.ca_file"] == pytest.approx(max(it.timestamp() for it in ends_in_file(bundle)))
    assert "apps.main.mipush.base_url" not in found

"""Requests are the occasion to look whether the store came back empty."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.app import create_app
from proxy.auth.block_user import disable_user
from proxy.domain.limits import Admitted, Blocked
from proxy.settings import Settings
from proxy.store.connection import Store
from proxy.store.server.embedded import ensure_store, stop_store
from proxy.wiring.web import web_services
from tests.store.samples import raw
from tests.web.world import World, app_section


@pytest.mark.parametrize(("path", "looks"), [("/healthz", 0), ("/readyz", 1), ("/api/devices", 1), ("/nowhere", 1)])
def test_every_request_but_the_one_that_needs_no_store_looks(path: str, looks: int) -> None:
    counted: list[str] = []
    client = create_app(replace(World().services, monitor_store=lambda: counted.append(path))).test_client()
    client.get(path)
    assert len(counted) == looks


@pytest.fixture
def own_url(tmp_path: Path) -> Iterator[str]:
    """A store that may be emptied."""
    yield ensure_store(tmp_path / "s")
    stop_store(tmp_path / "s")


def test_also_after_a_restart_a_loss_is_noticed_and_disabled_accounts_are_blocked_again(
    tmp_path: Path, own_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    configured = Settings.model_validate(
        {
            "store": {"url": own_url, "spool_dir": str(tmp_path / "spool")},
            "auth": {"accounts": {"key": "k" * 40, "database": str(tmp_path / "accounts.sqlite3")}},
            "apps": {"main": app_section()},
            "relay": {"dedupe_ttl_s": 200_000},
        }
    )
    before, now = web_services(configured), datetime.now(UTC)
    before.monitor_store()
    assert before.sign_ins is not None
    before.sign_ins.accounts.add("eve", "a hash", now)
    assert disable_user("eve", before.sign_ins.accounts, before.sign_ins.blocks, now)
    raw(Store(own_url), "FLUSHALL")
    after = web_services(configured)
    assert after.admission.admit("eve", None, None) == Admitted()
    after.monitor_store()
    assert after.admission.admit("eve", None, None) == Blocked()
    printed = capfd.readouterr()
    assert "came back empty" in printed.out + printed.err
    for it in (before, after):
        assert it.sign_ins is not None
        it.sign_ins.accounts.close()

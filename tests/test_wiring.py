"""What the settings become."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from proxy.configuration import fault_lines
from proxy.domain.decisions import Result
from proxy.domain.delivery import Delivery
from proxy.domain.limits import Budget
from proxy.errors import StoreUnavailable
from proxy.settings import Settings
from proxy.spool.inbox import SpoolingInbox
from proxy.wiring.common import channels_on, identity_of
from proxy.wiring.web import web_services
from proxy.wiring.worker import delivery_of
from tests.store.samples import NOON
from tests.web.world import app_section, mipush_section, other_section, settings


def test_with_a_spool_the_store_that_was_known_is_remembered_over_a_restart(tmp_path: Path) -> None:
    def known(**store: str) -> object:
        """What a process that starts now says to the store that it knows."""
        return identity_of(settings(store=store)).asked(NOON)[1][0]

    (tmp_path / "spool").mkdir()
    identity_of(settings(store={"spool_dir": str(tmp_path / "spool")})).learn([b"the-store", None, 0, b"16", b""])
    assert known(spool_dir=str(tmp_path / "spool")) == "the-store"
    assert known() == ""


def test_a_spool_that_is_off_leaves_nothing_behind_and_one_whose_disk_fails_keeps_no_process_from_starting(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    off = web_services(settings())
    assert off.spool is None
    assert not isinstance(off.inbox, SpoolingInbox)
    failing = web_services(settings(store={"spool_dir": str(tmp_path / "file")}))
    assert failing.spool is not None
    assert failing.spool.spool.has_failed


def test_a_store_that_is_away_is_one_warning_that_names_it_and_not_its_password() -> None:
    url = "redis://:hidden@127.0.0.1:1/0"
    with capture_logs() as lines:
        services = web_services(settings(store={"url": url}, limits={"url": url.replace("/0", "/1")}))
        for _ in range(5):
            services.monitor_store()
            with pytest.raises(StoreUnavailable):
                services.admission.has_signed_in("ann", "127.0.0.0/24")
            with pytest.raises(StoreUnavailable):
                services.admission.spend([Budget("token_per_account", 1, 60_000, "ann")], None)
    assert [(line["log_level"], line["setting"], line["at"]) for line in lines] == [
        ("warning", "store.url", "127.0.0.1:1"),
        ("warning", "limits.url", "127.0.0.1:1"),
    ]
    assert "hidden" not in repr(lines)


def test_the_time_is_not_known_until_the_store_was_asked(store_url: str) -> None:
    """Until then no callback is stale, for the machine's own clock may be a day off."""
    for url, is_known in (("redis://127.0.0.1:1/0", False), (store_url, True)):
        services = web_services(settings(store={"url": url}))
        services.store_now()
        assert (services.second_clock() is not None) == is_known


def test_a_section_reaches_phones_by_the_channels_that_are_on(tmp_path: Path) -> None:
    """A device with fallbacks is seen at the first of its addresses that one of these reaches."""
    (tmp_path / "key.p8").write_text("-----BEGIN PRIVATE KEY-----\n")
    apns = {"team_id": "T" * 10, "key_id": "K" * 10, "key_file": str(tmp_path / "key.p8"), "topic": "com.example.chat"}
    for sandbox, channels in ((True, {"apns", "apns-sandbox", "mipush"}), (False, {"apns", "mipush"})):
        section = app_section(apns=apns | {"sandbox": sandbox}, mipush=mipush_section())
        assert channels_on(settings({"main": section, "other": other_section()})) == {"main": channels, "other": set()}


def test_an_apps_delivery_says_whether_its_channels_send() -> None:
    given: list[dict[str, Any]] = [{}, {"delivery": "shadow"}, {"delivery": "off", "delivery_share": 12.5}]
    found = [delivery_of(settings({"main": app_section(**keys)}).apps["main"]) for keys in given]
    assert found == [Delivery(None), Delivery(Result.SHADOW, 0.0), Delivery(Result.DELIVERY_OFF, 12.5)]


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"delivery_share": 5}, "apps.main.delivery_share: has no use while delivery"),
        ({"delivery": "off", "delivery_share": 100.1}, "apps.main.delivery_share: "),
        ({"delivery": "off", "delivery_share": -1}, "apps.main.delivery_share: "),
        ({"delivery": "off", "delivery_share": "nan"}, "apps.main.delivery_share: "),
    ],
)
def test_a_share_that_cannot_be_is_refused_at_start(keys: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings({"main": app_section(**keys)})
    assert any(line.startswith(fault) for line in fault_lines(refused.value, Settings, {}))

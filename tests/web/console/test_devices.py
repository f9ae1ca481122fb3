"""The page of an account's devices: what is shown of them, a test alert for one, and the block of the account."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.auth.accounts import SessionTokens
from proxy.auth.accounts_db import open_accounts
from proxy.auth.passwords import Argon2Passwords
from proxy.auth.sign_in import SignIns
from proxy.domain.devices import Address, Device, Platform, fingerprint
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.previews import Preview
from proxy.settings import AccountsSettings
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.lane_states import lane_views
from proxy.store.records import load_job
from proxy.store.users.blocks import RedisBlocks
from proxy.web import wire
from tests.store.samples import new_of, queue_of, with_redis
from tests.web.console.site import FAR, PASSWORD, Site
from tests.web.world import NOW, app_section, mipush_section

TEST, BLOCK, UNBLOCK = "/console/devices/test", "/console/devices/block", "/console/devices/unblock"


class Phones:
    """An account of its own with a phone of Xiaomi's; Apple's channel is off."""

    def __init__(self, folder: Path, store: Store, url: str, app_id: str) -> None:
        self.url, self.account, self.lane = url, f"bob-{app_id}", Lane(app_id, "main", "mipush")
        apps = {"main": app_section(app_id=app_id, mipush=mipush_section())}
        self.site = Site(folder, store, [self.lane], console={"writes": True}, apps=apps)
        self.store, self.blocks = store, RedisBlocks(store)
        self.registry = RedisDeviceRegistry(store, {"main": app_id})
        self.token = f"canary-{app_id}"
        self.register("phone")

    def register(self, device_id: str, **of: Any) -> None:
        token = of.pop("push_token", f"{self.token}-{device_id}")
        self.registry.register(
            Device("main", self.account, device_id, of.pop("platform", Platform.MIPUSH), token, NOW, **of)
        )

    @property
    def path(self) -> str:
        return f"/console/devices?account={self.account}"

    def jobs(self) -> list[Job]:
        """What a worker claims."""
        found: list[Job] = []

        async def scenario(redis: Any) -> None:
            queue = queue_of(redis)
            await queue.ensure_groups(self.lane)
            found.extend(load_job(entry.record) for entry in await new_of(queue, self.lane))

        with_redis(self.url, scenario)
        return found


@pytest.fixture
def phones(tmp_path: Path, store: Store, store_url: str, app_id: str) -> Iterator[Phones]:
    made = Phones(tmp_path, store, store_url, app_id)
    yield made
    made.blocks.unblock(made.account)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def audits(lines: list[Any], what: str) -> list[Any]:
    return [line for line in lines if line.get("what") == what]


def test_devices_are_shown_and_their_push_tokens_as_fingerprints(phones: Phones, lines: list[Any]) -> None:
    spare = Address(Platform.HTTP, "canary-fcm")
    phones.register("iphone", platform=Platform.APNS, locale="zh-CN", preview=Preview.SENDER, fallbacks=(spare,))
    html = phones.site.browser().page(phones.path)
    for told in ("phone", "mipush", fingerprint(f"{phones.token}-phone"), "2026-11-23 12:00:00 UTC",
                 "zh-CN", "shows: sender", f"then http {fingerprint('canary-fcm')}"):  # fmt: skip
        assert told in html
    assert html.count("channel is off") == 1  # Apple's
    assert "canary" not in html + repr(lines)
    assert "Send a test alert" not in html  # for operators alone
    assert f'href="/console/find?account={phones.account}"' in html


def test_an_account_without_devices_is_told(phones: Phones) -> None:
    assert "No device is registered" in phones.site.browser().page("/console/devices?account=cai")
    assert "No device is registered" not in phones.site.browser().page("/console/devices")


@pytest.mark.parametrize("account", ["a%0ab", "x" * 300, "a%E2%80%AEb"])
def test_what_cannot_be_an_account_is_told(phones: Phones, account: str) -> None:
    assert phones.site.browser().get(f"/console/devices?account={account}").status_code == 400


def test_a_test_alert_is_a_job_for_that_device_alone_and_audited(phones: Phones, lines: list[Any]) -> None:
    phones.register("pad")
    browser = phones.site.signed_in(peer=FAR)
    assert 'aria-label="Send a test alert to pad"' in browser.page(phones.path)
    answer = browser.form(phones.path, TEST, account=phones.account, app="main", device="pad")
    (job,) = phones.jobs()
    assert (job.account, job.device_id, job.channel) == (phones.account, "pad", "mipush")
    assert job.alert.text.body == "A test alert, 12:00:00 UTC"
    assert job.alert.expires_at == NOW + timedelta(minutes=5)
    assert answer.status_code == 303
    assert "is in its lane" in browser.page(answer.headers["Location"])
    (line,) = audits(lines, "test alert")
    assert (line["operator"], line["device_id"], line["lane"], line["message_id"]) == (
        "olga", "pad", "main/mipush", job.alert.message_id
    )  # fmt: skip
    assert "canary" not in repr(audits(lines, "test alert"))


def test_two_test_alerts_are_two_messages(phones: Phones) -> None:
    browser = phones.site.signed_in()
    for _ in range(2):
        browser.form(phones.path, TEST, account=phones.account, app="main", device="phone")
    first, second = phones.jobs()
    assert first.id != second.id


def test_a_device_whose_channel_is_off_gets_it_at_its_next_address(phones: Phones) -> None:
    phones.register("iphone", platform=Platform.APNS, fallbacks=(Address(Platform.MIPUSH, f"{phones.token}-spare"),))
    browser = phones.site.signed_in()
    assert browser.form(phones.path, TEST, account=phones.account, app="main", device="iphone").status_code == 303
    assert [job.channel for job in phones.jobs()] == ["mipush"]


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"device": "other"}, 404, "there is no such device"),
        ({"app": "other"}, 404, "there is no such device"),
        ({"account": "cai"}, 404, "there is no such device"),
        ({"device": "iphone"}, 409, "no channel of the settings reaches this device"),
    ],
)
def test_a_test_alert_that_cannot_be_sent_says_why(
    phones: Phones, fields: dict[str, str], status: int, told: str
) -> None:
    phones.register("iphone", platform=Platform.APNS)
    asked = {"account": phones.account, "app": "main", "device": "phone"} | fields
    answer = phones.site.signed_in().form(phones.path, TEST, **asked)
    assert (answer.status_code, told in answer.text) == (status, True)
    assert phones.jobs() == []


def test_a_full_lane_takes_no_test_alert(phones: Phones) -> None:
    its = phones.site.world.services
    one = its.settings.store.model_copy(update={"jobs_cap": 1})
    wire(phones.site.world.app, replace(its, settings=its.settings.model_copy(update={"store": one})))
    browser, asked = phones.site.signed_in(), {"account": phones.account, "app": "main", "device": "phone"}
    assert [browser.form(phones.path, TEST, **asked).status_code for _ in range(2)] == [303, 503]
    assert lane_views(phones.store, [phones.lane])[0].waiting == 1


def test_an_account_is_blocked_and_let_in_again_which_is_audited(phones: Phones, lines: list[Any]) -> None:
    browser = phones.site.signed_in()
    assert "is not blocked" in browser.page(phones.path)
    for path, is_blocked, told in ((BLOCK, True, "The account is blocked"), (UNBLOCK, False, "not blocked any more")):
        answer = browser.form(phones.path, path, account=phones.account)
        assert told in browser.page(answer.headers["Location"])
        assert phones.blocks.is_blocked(phones.account, None) is is_blocked
    for what in ("account blocked", "account unblocked"):
        (line,) = audits(lines, what)
        assert (line["operator"], line["account"], line["via"]) == ("olga", phones.account, "console")


def test_a_built_in_account_is_disabled_too(phones: Phones, tmp_path: Path) -> None:
    """Else the next start would find store and database apart."""
    its = AccountsSettings.model_validate({"key": "k" * 40, "database": str(tmp_path / "accounts.sqlite3")})
    database = open_accounts(its.database)
    passwords = Argon2Passwords()
    database.add(phones.account, passwords.hash(PASSWORD), NOW)
    sign_ins = SignIns(
        database, passwords, SessionTokens(its), phones.blocks, access_ttl=its.access_ttl, refresh_ttl=its.refresh_ttl
    )
    wire(phones.site.world.app, replace(phones.site.world.services, sign_ins=sign_ins))
    browser = phones.site.signed_in()
    for path, is_out in ((BLOCK, True), (UNBLOCK, False)):
        browser.form(phones.path, path, account=phones.account)
        user = database.find(phones.account)
        assert user is not None
        assert (user.disabled_at is not None) is is_out
        assert phones.blocks.is_blocked(phones.account, None) is is_out
    database.close()


def test_it_is_private(phones: Phones) -> None:
    answer = phones.site.browser(FAR).get(phones.path)
    assert answer.status_code == 403
    assert "phone" not in answer.text

"""`app-proxy devices export|import`, on a real store."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli import cli
from proxy.domain.devices import Address, Device, Platform
from proxy.domain.previews import Preview
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry

THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SECRET = "canary-push-token"


class Operator:
    def __init__(self, folder: Path, store_url: str, app_id: str) -> None:
        self.config = folder / "proxy.toml"
        self.config.write_text(
            f'[store]\nurl = "{store_url}"\n[devices]\nper_account = 2\n[auth.jwt.own]\nsecret = "{"x" * 40}"\n'
            f'[apps.main]\napp_id = "{app_id}"\napp_key = "key"\napp_secret = "secret"\nurl_secret = "{"u" * 20}"\n'
            f'[apps.main.http]\nurl = "http://127.0.0.1:9/alerts"\nsecret = "whsec_{"QUFB" * 12}"\n'
        )
        self.devices = RedisDeviceRegistry(Store(store_url), {"main": app_id}, per_account=2)

    def run(self, *arguments: str, text: str = "") -> Result:
        result = CliRunner().invoke(cli, ["devices", *arguments, "--config", str(self.config)], input=text.encode())
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def bring(self, lines: Sequence[dict[str, Any]], *options: str, wrong: bool = False) -> dict[str, int]:
        """What became of them: no more than what is not 0."""
        result = self.run("import", "-", *options, text="".join(json.dumps(it) + "\n" for it in lines))
        assert result.exit_code == (1 if wrong else 0), result.output
        assert SECRET not in result.output
        told = json.loads(result.stdout)
        assert told.pop("lines") == len(lines)
        return {name: number for name, number in told.items() if number}

    def tokens(self, account: str) -> list[str]:
        return [it.push_token for it in self.devices.devices_of("main", account)]


@pytest.fixture
def operator(tmp_path: Path, store_url: str, app_id: str) -> Operator:
    return Operator(tmp_path, store_url, app_id)


def line(
    account: str = "alice", device_id: str = "phone", token: str = f"{SECRET}-1", **members: Any
) -> dict[str, Any]:
    at = members.pop("at", THEN).isoformat()
    return {
        "account": account, "device_id": device_id, "platform": "http", "push_token": token, "registered_at": at,
        **members,
    }  # fmt: skip


def test_what_is_exported_is_imported_as_it_was_and_again_changes_nothing(operator: Operator) -> None:
    one = Device(
        "main", "张三 🧑‍🚀", "phone", Platform.HTTP, f"{SECRET}-1", THEN, locale="zh", resource="r",
        preview=Preview.SENDER, fallbacks=(Address(Platform.HTTP, f"{SECRET}-2"),),
    )  # fmt: skip
    operator.devices.register(one)
    (exported,) = map(json.loads, operator.run("export", "--with-push-tokens").stdout.splitlines())
    assert operator.bring([exported]) == {"here already": 1}
    operator.devices.remove("main", one.account, "phone")
    assert operator.bring([exported], "--dry-run") == {"dry_run": True, "imported": 1}
    assert operator.tokens(one.account) == []
    assert operator.bring([exported], "--app", "main") == {"imported": 1}
    assert operator.devices.devices_of("main", one.account) == [one]


def test_push_tokens_leave_only_where_that_is_said(operator: Operator) -> None:
    operator.bring([line()])
    refused = operator.run("export")
    assert (refused.exit_code, SECRET in refused.output) == (2, False)


def test_a_newer_registration_stays_whoever_has_it(operator: Operator) -> None:
    operator.bring([line(token="new"), line("bob", token="bobs")])
    older: dict[str, Any] = {"at": THEN - DAY}
    assert operator.bring([line(token="old", **older)]) == {"older than what is here": 1}
    assert operator.bring([line("carl", token="bobs", **older)]) == {"older than what is here": 1}
    assert (operator.tokens("alice"), operator.tokens("bob"), operator.tokens("carl")) == (["new"], ["bobs"], [])
    assert operator.bring([line("carl", token="bobs", at=THEN + DAY)]) == {"imported": 1}
    assert (operator.tokens("bob"), operator.tokens("carl")) == ([], ["bobs"])


def test_the_newest_of_an_account_have_the_room_in_whatever_order_they_come(operator: Operator) -> None:
    days = [line(device_id=f"d{day}", token=f"t{day}", at=THEN + day * DAY) for day in (3, 1, 4, 2)]
    assert operator.bring(days) == {"imported": 3, "no room in the account": 1}
    assert operator.tokens("alice") == ["t3", "t4"]


def test_of_the_same_device_or_push_token_in_one_file_the_newest_holds(operator: Operator) -> None:
    lines = [line(token="a"), line(token="b", at=THEN + DAY), line("bob", token="b"), line("bob", token="a")]
    assert operator.bring(lines) == {"imported": 3, "older than what is here": 1}
    assert (operator.tokens("alice"), operator.tokens("bob")) == (["b"], ["a"])


def test_wrong_lines_are_told_by_number_without_what_they_hold_and_the_others_go_on(operator: Operator) -> None:
    good, texts = json.dumps(line()), [
        f'{{"{SECRET}', json.dumps(line(push_token=f"{SECRET} 2")), json.dumps(line(secret=SECRET)),
        json.dumps(line(account=f"{SECRET}\n")), json.dumps(line(platform="apns")), json.dumps(line(app=SECRET)),
        json.dumps(line(at=datetime.now(UTC) + DAY)), json.dumps(line(at=THEN.replace(tzinfo=None))),
        '{"a":"' + "x" * 200_000 + '"}', "\x00", json.dumps(line(at=THEN, device_id=f"{SECRET}\t")),
    ]  # fmt: skip
    result = operator.run("import", "-", text="\n".join([*texts, "", good]))
    assert result.exit_code == 1
    assert SECRET not in result.output
    told = [it.partition(":")[0] for it in result.stderr.splitlines()]
    assert told == [*(f"line {number}" for number in range(1, len(texts) + 1)), "error"]
    assert json.loads(result.stdout)["imported"] == 1
    assert operator.tokens("alice") == [f"{SECRET}-1"]


def test_an_interrupted_import_goes_on_where_it_is_told_to(operator: Operator) -> None:
    lines = "\n".join(json.dumps(line(account, token=account)) for account in ("a1", "a2", "a3"))
    told = json.loads(operator.run("import", "-", "--from-line", "3", text=lines).stdout)
    assert operator.run("import", "/nowhere/devices.jsonl").exit_code == 2
    assert (told["lines"], operator.tokens("a2"), operator.tokens("a3")) == (1, [], ["a3"])

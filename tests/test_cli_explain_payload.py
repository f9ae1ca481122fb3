"""`app-proxy explain-payload`: what would be said, and why."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli import cli
from tests.test_cli import write_config

OWN = """
[apps.main.messages]
sender_name = "from.nick"
[apps.main.messages.types.order_paid]
words = "Your order is paid"
urgent = true
expiry_s = 60
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, OWN)


def told(config: Path, payload: object, *options: str) -> Result:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return CliRunner().invoke(cli, ["explain-payload", "--config", str(config), *options, "-"], input=body)


def facts(config: Path, payload: object, *options: str) -> dict[str, Any]:
    result = told(config, payload, "--json", *options)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def why(found: dict[str, Any]) -> dict[str, str]:
    return {it["what"]: it["is"] for it in found["why"]}


def test_a_payload_is_told_in_each_language_with_its_reasons(config: Path) -> None:
    lines = told(config, {"type": "PIC_FILE", "msgId": "m7", "from": {"nick": "Ann"}}).stdout.splitlines()
    assert [line.split(maxsplit=1) for line in lines if line] == [
        ["payload", "a JSON object"],
        ["type", "PIC_FILE, from type"],
        ["rule", "kind picture, by operation manual"],
        ["sender", "from from.nick"],
        ["msgId", "m7"],
        ["en", "Ann: [Photo]"],
        ["zh-Hans", "Ann: [图片]"],
        ["zh-Hant", "Ann: [圖片]"],
    ]


def test_a_name_that_the_payload_lacks_is_said_to_be_asked_for(tmp_path: Path) -> None:
    profiles = f'[apps.main.profiles]\nurl = "https://chat.example.com/names"\nsecret = "whsec_{"A" * 32}"\n'
    sender = why(facts(write_config(tmp_path, OWN + profiles), {"type": "PIC_FILE"}))["sender"]
    assert sender == "asked for at profiles.url, else the account, for no path names the sender"


def test_a_type_of_the_app_s_own_is_told_with_where_its_rule_is_from(config: Path) -> None:
    found = facts(config, {"msgType": "order_paid", "type": "TEXT", "payload": "42"}, "--sender", "shop")
    assert (found["type"], found["kind"], found["urgent"], found["expiry_s"]) == ("ORDER_PAID", "ORDER_PAID", True, 60)
    assert why(found)["rule"] == "kind ORDER_PAID, by messages.types.ORDER_PAID"
    assert why(found)["type not taken"] == "TEXT, from type"
    assert found["says"]["zh-Hans"] == {"title": "shop", "group": "", "text": "Your order is paid"}


@pytest.mark.parametrize(
    ("payload", "what", "reason"),
    [
        ({"type": "TEXT", "content": b64encode(b"hello there").decode()}, "text", "from content, decoded"),
        ({"type": "TEXT"}, "text", "none; looked at payload, content"),
        ({"type": "GIFT"}, "type", "none that is known here"),
        (b"hi there", "payload", "no JSON object; 8 bytes"),
        (b64encode(b'{"type": "TEXT", "payload": "hi"}'), "payload", "a JSON object in base64"),
    ],
)
def test_each_reason_is_told(config: Path, payload: object, what: str, reason: str) -> None:
    assert why(facts(config, payload))[what] == reason


def test_a_payload_without_an_alert_says_so_and_which_message_it_is_about(config: Path) -> None:
    assert told(config, {"type": "RECALL", "payload": "m7"}).stdout.endswith("\nno alert: the kind is silent\n")
    found = facts(config, {"type": "RECALL", "payload": "m7"})
    assert (found["kind"], found["about"], found["says"]) == ("recall", "m7", {})


def test_a_whole_callback_tells_type_and_sender_itself(config: Path) -> None:
    body = {
        "msgType": "OFFLINE_MSG", "fromAccount": "ben", "fromAppId": "1", "toAccount": "ann", "toAppId": "1",
        "payload": b64encode(b"hi there").decode(), "timestamp": "1793534400000", "sequence": "7", "bizType": "TEXT",
    }  # fmt: skip
    assert facts(config, body)["says"]["en"] == {"title": "ben", "group": "", "text": "hi there"}
    broken = told(config, {**body, "payload": 5})
    assert broken.exit_code == 1
    assert "payload: expected" in broken.output


def test_what_an_app_hides_is_not_told(tmp_path: Path) -> None:
    config = write_config(tmp_path, '[apps.main.messages]\npreview = "none"\n')
    result = told(config, {"type": "TEXT", "payload": "canary"}, "--sender", "canary")
    assert "hides a part, by messages.preview" in result.stdout
    assert "canary" not in result.stdout


@pytest.mark.parametrize("payload", [b"", b"\xff\x00\x1b[2J", b'{"type":"TEXT","payload":"\\u001b[2J\\u202eabc"}'])
def test_a_terminal_is_told_nothing_that_it_would_obey(config: Path, payload: bytes) -> None:
    for options in ((), ("--json",)):
        result = told(config, payload, "--biz-type", "TEXT", *options)
        assert result.exit_code == 0
        assert result.stdout.replace("\n", "").isprintable()


def test_a_section_that_is_not_there_is_named(config: Path) -> None:
    assert "expected one of main" in told(config, {}, "--app", "other").output

"""What `app-proxy live-check` says of callbacks, never repeating a value, and the page of its questions."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.check_config.live import (
    CHECKS,
    FIRST_STREAMS,
    REPEATED_ID,
    TOKEN_FIELDS,
    UNKNOWN_ACCOUNT,
    Check,
    is_live,
    look_at_callbacks,
    types_of,
)
from proxy.settings import AppSettings
from tests.docs.test_pages import ROOT
from tests.system.rig import offline

CANARY = "canary-of-a-user"


def body(**changes: object) -> bytes:
    return json.dumps(offline(CANARY, f"{CANARY}-2", CANARY, 7) | changes).encode()


def test_callbacks_as_presumed_are_confirmed_with_the_type_of_each_member() -> None:
    result = look_at_callbacks([body(), body(sequence=154503794553568001)])
    assert result.outcome == "confirmed"
    members = result.seen["members"]
    assert isinstance(members, dict)
    assert members["OFFLINE_MSG"]["sequence"] == ["text", "number"]
    assert members["OFFLINE_MSG"]["payload"] == ["text"]
    assert CANARY not in str(result)


@pytest.mark.parametrize(
    "changed",
    [
        body(sequence=[1]),
        body(aNewMember=CANARY),
        body(**{CANARY: 1}),
        body(msgType=f"{CANARY} MSG"),
        b'{"msgType":"OFFLINE_MSG"}',
        CANARY.encode(),
        b"[" * 100_000,
    ],
)
def test_what_is_another_than_presumed_differs_and_is_not_repeated(changed: bytes) -> None:
    result = look_at_callbacks([body(), changed])
    assert result.outcome == "differs"
    assert CANARY not in str(result)


def test_a_file_without_a_callback_asks_nothing() -> None:
    assert look_at_callbacks([]).outcome == "not run"


def test_each_json_type_has_a_name() -> None:
    found = types_of({"a": None, "b": True, "c": 1.5, "d": "x", "e": [], "f": [1, "x"], "g": {}, "h i": 1})
    assert found == {
        "a": "null", "b": "boolean", "c": "number", "d": "text", "e": "empty array", "f": "array of number and text",
        "g": "object", "(another name)": "number",
    }  # fmt: skip


def test_the_page_has_each_check_with_its_number_what_is_presumed_and_since_when_it_is_known() -> None:
    rows = re.findall(
        r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", (ROOT / "docs/live.md").read_text(), re.MULTILINE
    )
    known = {(number, name, question, presumed) for number, name, question, presumed, _ in rows}
    assert known == {(str(it.number), it.name, it.question, it.presumed) for it in CHECKS}
    assert all(re.fullmatch(r"never confirmed|(confirmed|differs), \d{4}-\d{2}-\d{2}.*", since) for *_, since in rows)


@pytest.mark.parametrize(
    ("check", "changes", "live"),
    [
        (TOKEN_FIELDS, {}, True),
        (TOKEN_FIELDS, {"base_url": "http://127.0.0.1:8601"}, False),
        (TOKEN_FIELDS, {"base_url": "https://xiaomi.net.example.com"}, False),
        (FIRST_STREAMS, {"production_url": "https://127.0.0.1:8602"}, False),
        (FIRST_STREAMS, {"sandbox_url": "https://127.0.0.1:8602"}, True),  # Apple's production is asked
        (REPEATED_ID, {"sandbox_url": "https://127.0.0.1:8602"}, False),
        (UNKNOWN_ACCOUNT, {}, True),
        (UNKNOWN_ACCOUNT, {"push_url": "http://127.0.0.1:8603"}, False),
    ],
)
def test_what_another_host_answers_is_not_taken_for_the_services_word(
    tmp_path: Path, check: Check, changes: Mapping[str, str], live: bool
) -> None:
    (tmp_path / "key.p8").write_text("")
    apns = {name: url for name, url in changes.items() if name in {"production_url", "sandbox_url"}}
    app = AppSettings.model_validate(
        {
            "app_id": "1", "app_key": "k", "app_secret": "s", "url_secret": "u" * 16,
            **{name: url for name, url in changes.items() if name == "base_url"},
            "apns": {
                "team_id": "ABCDE12345", "key_id": "FGHIJ67890", "topic": "com.example.chat",
                "key_file": str(tmp_path / "key.p8"), **apns,
            },
            "mipush": {
                "app_secret": "s", "package": "com.example.chat",
                **({"base_url": changes["push_url"]} if "push_url" in changes else {}),
            },
        },
    )  # fmt: skip
    assert is_live(check, app) is live

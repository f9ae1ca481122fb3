"""The emulated Xiaomi push, talked to over sockets by clients that are not ours: requests and libcurl."""

import http.client
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pycurl
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from proxy.emulators.mipush import Channel, MipushApp, MipushConfig, Template
from proxy.emulators.mipush.rules import Refused, read_form, read_notification
from tests.emulators.config_faults import faults_of

SECRET, OTHER_SECRET = "the-app-secret==", "the-other-secret=="
FORM = "application/x-www-form-urlencoded;charset=UTF-8"
SETTINGS = f"""
    [mipush]
    quota_interval_s = 60
    {{head}}
    [[mipush.apps]]
    package = "com.example.chat"
    app_secret = "{SECRET}"
    [[mipush.apps.channels]]
    channel_id = "123456"
    [[mipush.apps.channels.templates]]
    template_id = "M12762"
    parameters = ["keywords1", "keywords2"]
    title = "From {{{{keywords1}}}}"
    text = "wrote: {{{{keywords2}}}}"
    [[mipush.apps.channels]]
    channel_id = "777"
    kind = "public"
    [[mipush.apps.channels.templates]]
    template_id = "M1"
    parameters = []
    [[mipush.apps]]
    package = "com.example.other"
    app_secret = "{OTHER_SECRET}"
    [[mipush.apps.channels]]
    channel_id = "123456"
    [[mipush.apps.channels.templates]]
    template_id = "M12762"
    parameters = ["keywords1"]
"""


Form = dict[str, str] | list[tuple[str, str]]


class Emulator:
    def __init__(self, announced: dict[str, Any]) -> None:
        self.announced = announced
        self.url, self.port = str(announced["url"]), int(announced["port"])
        self.session = requests.Session()
        self.session.trust_env = False

    def post(self, path: str, form: Form, secret: str = SECRET, kind: str = FORM) -> requests.Response:
        headers = {"Authorization": f"key={secret}", "Content-Type": kind}
        return self.session.post(f"{self.url}{path}", data=urlencode(form), headers=headers, timeout=60)

    def accounts(self, accounts: str, **changes: str | None) -> dict[str, Any]:
        reply = self.post("/v2/message/user_account", message(user_account=accounts, **changes))
        assert reply.status_code == 200
        answer: dict[str, Any] = reply.json()
        return answer

    def regids(self, regids: str, **changes: str | None) -> dict[str, Any]:
        answer: dict[str, Any] = self.post("/v2/message/regid", message(registration_id=regids, **changes)).json()
        return answer

    def control(self, method: str, path: str, body: object = None) -> Any:
        reply = self.session.request(method, f"{self.url}/_emulator/{path}", json=body, timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def fault(self, **fault: Any) -> None:
        self.control("POST", "faults", fault)

    def journal(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.control("GET", "journal")["entries"]
        return entries

    def phone(self, name: str) -> dict[str, Any]:
        phones: list[dict[str, Any]] = self.control("GET", "phones")["phones"]
        return next(phone for phone in phones if phone["phone"] == name)


def message(**changes: str | None) -> dict[str, str]:
    """A call that keeps all rules, but for its targets. Underscores after `extra` stand for the dot; None removes."""
    form: dict[str, str | None] = {
        "restricted_package_name": "com.example.chat",
        "title": "Li Lei",
        "description": "hello",
        "notify_type": "-1",
        "time_to_live": "86400000",
        "extra.notify_effect": "1",
        "extra.channel_id": "123456",
        "extra.template_id": "M12762",
        "extra.template_param": '{"keywords1":"Li Lei","keywords2":"hello"}',
    }
    form |= {name.replace("extra_", "extra.", 1).replace("callback_", "callback."): v for name, v in changes.items()}
    return {name: value for name, value in form.items() if value is not None}


@contextmanager
def running(folder: Path, head: str = "") -> Iterator[Emulator]:
    file = folder / "mipush.toml"
    file.write_text(SETTINGS.format(head=head))
    command = [sys.executable, "-m", "proxy", "emulate", "mipush", "--config", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            emulator = Emulator(json.loads(process.stdout.readline()))
            with emulator.session:
                yield emulator
        finally:
            process.terminate()
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("mipush")) as emulator:
        yield emulator


@pytest.fixture
def mipush(started: Emulator) -> Emulator:
    """Two phones: both know account 1001, the second 1002 as well."""
    started.control("DELETE", "faults")
    started.control("DELETE", "devices")
    started.control("PUT", "settings", {"unknown_targets": "refuse"})
    phones = [
        {"phone": "first", "package": "com.example.chat", "regid": "regid-1", "accounts": ["1001"]},
        {"phone": "second", "package": "com.example.chat", "regid": "regid-2", "accounts": ["1001", "1002"]},
    ]
    started.control("POST", "devices", phones)
    return started


# --- what is taken


def test_an_accepted_call_is_answered_with_a_message_id_and_shown(mipush: Emulator) -> None:
    reply = mipush.post("/v2/message/user_account", message(user_account="1001"))
    assert reply.headers["Content-Type"].startswith("application/json")
    answer = reply.json()
    assert (reply.status_code, answer["result"], answer["code"]) == (200, "ok", 0)
    assert answer["data"]["id"] == answer["trace_id"]
    assert answer["trace_id"].startswith("Xcm")
    assert all(isinstance(value, str) for value in answer["data"].values())
    for name in ("first", "second"):
        shown = mipush.phone(name)["shown"]
        assert [(s["title"], s["description"]) for s in shown] == [("From Li Lei", "wrote: hello")]


def test_a_call_of_libcurl_is_understood(mipush: Emulator) -> None:
    answer = io.BytesIO()
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"{mipush.url}/v2/message/regid")
    curl.setopt(pycurl.NOPROXY, "*")
    curl.setopt(pycurl.HTTPHEADER, [f"Authorization: key={SECRET}", f"Content-Type: {FORM}"])
    curl.setopt(pycurl.POSTFIELDS, urlencode(message(registration_id="regid-1", description="早上好")))
    curl.setopt(pycurl.WRITEDATA, answer)
    for _ in range(2):
        curl.perform()
        assert (curl.getinfo(pycurl.RESPONSE_CODE), json.loads(answer.getvalue())["code"]) == (200, 0)
        answer.seek(0)
        answer.truncate()
    assert curl.getinfo(pycurl.NUM_CONNECTS) == 0
    curl.close()
    assert mipush.journal()[-1]["description"] == "早上好"


def test_the_journal_tells_what_was_asked_and_holds_no_secret(mipush: Emulator) -> None:
    before = len(mipush.journal())
    mipush.accounts("1001,1002", notify_id="7", extra_jobkey="job-1", extra_callback="http://127.0.0.1:9/url-secret")
    mipush.accounts("1001", title="")
    taken, refused = (entry for entry in mipush.journal()[before:] if entry["kind"] == "send")
    assert taken["outcome"] == "accepted"
    assert taken["targets"] == ["1001", "1002"]
    assert (taken["title"], taken["description"], taken["notify_id"], taken["jobkey"]) == (
        "Li Lei", "hello", "7", "job-1",
    )  # fmt: skip
    assert taken["template_params"] == {"keywords1": "Li Lei", "keywords2": "hello"}
    assert taken["extras"]["callback"] == "***"
    assert taken["message_id"].startswith("Xcm")
    assert (refused["outcome"], refused["code"]) == ("refused", 10041)
    assert taken["connection"] == refused["connection"]
    assert taken["peer_port"] == refused["peer_port"]
    assert taken["came_ms"] <= taken["monotonic_ms"] <= refused["came_ms"]
    assert not any(secret in json.dumps(mipush.journal()) for secret in (SECRET, "url-secret", "Authorization"))


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"title": None}, 10041),
        ({"title": "　 "}, 10041),
        ({"title": "x" * 50}, 10041),
        ({"description": None}, 10041),
        ({"description": "x" * 128}, 10041),
        ({"restricted_package_name": None}, 22022),
        ({"restricted_package_name": "com.example.other"}, 22022),
        ({"pass_through": "1"}, 10036),
        ({"extra_notify_effect": None}, 10016),
        ({"extra_notify_effect": "4"}, 10017),
        ({"extra_notify_effect": "2"}, 10017),
        ({"extra_notify_effect": "3", "extra_web_uri": "ftp://x"}, 10017),
        ({"extra_jobkey": "_abc"}, 10017),
        ({"extra_jobkey": "x" * 21}, 10017),
        ({"extra_jobkey": "a.b"}, 10017),
        ({"extra_jobkey": ""}, 10017),
        ({"notify_id": "-1"}, 10017),
        ({"notify_id": "2147483648"}, 10017),
        ({"notify_id": "1.5"}, 10017),
        ({"notify_type": "8"}, 10017),
        ({"time_to_live": "864000001"}, 10017),
        ({"time_to_live": "0"}, 10017),
        ({"extra_channel_id": "777", "extra_template_id": "M1", "time_to_live": "86400001"}, 10017),
        ({"time_to_send": "9999999999999"}, 10017),
        ({"extra_channel_id": "1"}, 27001),
        ({"extra_channel_id": None}, 27001),
        ({"extra_channel_id": "777"}, 27001),
        ({"extra_template_id": None}, 27001),
        ({"extra_template_id": "M9"}, 27001),
        ({"extra_template_param": None}, 10017),
        ({"extra_template_param": "[]"}, 10017),
        ({"extra_template_param": '{"keywords1":"a"}'}, 10017),
        ({"extra_template_param": '{"keywords1":"a","keywords2":"b","keywords3":"c"}'}, 10017),
        ({"extra_template_param": '{"keywords1":"a","keywords2":5}'}, 10017),
        ({"extra_template_param": '{"keywords1":"a","keywords2":""}'}, 10017),
        ({"extra_template_param": '{"keywords1":"a","keywords2":" "}'}, 10017),
        ({"extra_template_param": json.dumps({"keywords1": "a", "keywords2": "x" * 129})}, 10017),
        ({"extra_template_param": json.dumps({"keywords1": "a", "keywords2": "hi 🙂"})}, 10017),
        ({"extra_template_param": json.dumps({"keywords1": "a", "keywords2": "\u0378"})}, 10017),
        ({"extra_own": "x" * 2048}, 65015),
        ({"payload": "é" * 2049}, 65009),
        ({"extra_callback": "nowhere"}, 65037),
        ({"extra_callback": "http://["}, 65037),
        ({"extra_callback_param": "é" * 33}, 65036),
        ({"extra_callback_type": "8"}, 10017),
        ({"extra_callback_type": "x"}, 10017),
        ({"notifyid": "1"}, 10017),
        ({"registration_id": "regid-1"}, 10017),
    ],
)
def test_a_call_that_breaks_a_rule_is_refused(mipush: Emulator, changes: dict[str, str | None], code: int) -> None:
    answer = mipush.accounts("1001", **changes)
    assert (answer["result"], answer["code"]) == ("error", code)
    assert answer["reason"]
    assert mipush.phone("first")["shown"] == []


_NAMES = sorted(message(user_account="x", payload="x", extra_callback="x", extra_jobkey="x", notify_id="x"))
_TEMPLATE = Template(template_id="M12762", parameters=("keywords1",))
_CHANNEL = Channel(channel_id="123456", templates=(_TEMPLATE,))
_APP = MipushApp(package="com.example.chat", app_secret=SECRET, channels=(_CHANNEL,))


@given(st.dictionaries(st.sampled_from(_NAMES), st.text() | st.sampled_from(["1", "http://[", "[" * 2000, "{}"])))
def test_any_parameters_are_a_notification_or_refused_with_a_code(changes: dict[str, str]) -> None:
    form = read_form(FORM, urlencode(message(user_account="1001") | changes, errors="replace").encode())
    with suppress(Refused):
        assert read_notification(form, _APP, "user_account", strict=True).targets


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "x" * 49, "description": "y" * 127},
        {"extra_jobkey": "-_aZ09" + "x" * 14, "notify_id": "2147483647", "time_to_live": "864000000"},
        {"extra_template_param": json.dumps({"keywords1": "a", "keywords2": "价格 + 10 ≤ € 5" + "x" * 100})},
        {"extra_notify_effect": "2", "extra_intent_uri": "intent:#Intent;component=a/.B;S.key=v;end"},
        {"extra_callback_param": "x" * 64, "extra_callback_type": "1043", "pass_through": "0"},
        {"extra_channel_id": "777", "extra_template_id": "M1", "extra_template_param": None},
        {"payload": "x" * 4096},
    ],
)
def test_a_call_at_the_edge_of_the_rules_is_taken(mipush: Emulator, changes: dict[str, str | None]) -> None:
    assert mipush.accounts("1001", **changes)["code"] == 0


@pytest.mark.parametrize("secret", ["wrong", "", OTHER_SECRET])
def test_another_secret_is_refused(mipush: Emulator, secret: str) -> None:
    answer = mipush.post("/v2/message/user_account", message(user_account="1001"), secret).json()
    assert answer["code"] == (22022 if secret == OTHER_SECRET else 21301)


def test_the_secret_is_given_by_the_word_key(mipush: Emulator) -> None:
    for authorization in (f"Key={SECRET}", f"Bearer {SECRET}", SECRET, None):
        headers = {"Authorization": authorization, "Content-Type": FORM}
        url = f"{mipush.url}/v2/message/user_account"
        answer = mipush.session.post(url, urlencode(message(user_account="1001")), headers=headers, timeout=60).json()
        assert answer["code"] == 21301


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (urlencode(message(user_account="1001")), "application/x-www-form-urlencoded;charset=GBK"),
        (json.dumps(message(user_account="1001")), "application/json"),
        (urlencode(message(user_account="1001", title="é"), encoding="latin-1"), FORM),
        (urlencode(message(user_account="1001")) + "&title=other", FORM),
        ("user_account", FORM),
    ],
)
def test_only_an_utf8_form_is_read(mipush: Emulator, body: str, kind: str) -> None:
    headers = {"Authorization": f"key={SECRET}", "Content-Type": kind}
    url = f"{mipush.url}/v2/message/user_account"
    answer = mipush.session.post(url, body, headers=headers, timeout=60).json()
    assert answer["code"] in (10012, 10017)


@pytest.mark.parametrize("kind", [
    "application/x-www-form-urlencoded", 'Application/X-WWW-Form-Urlencoded; charset="utf-8"',
])  # fmt: skip
def test_the_charset_may_be_left_out_or_written_otherwise(mipush: Emulator, kind: str) -> None:
    assert mipush.post("/v2/message/user_account", message(user_account="1001"), kind=kind).json()["code"] == 0


@pytest.mark.parametrize(("path", "target"), [("user_account", "user_account"), ("regid", "registration_id")])
def test_targets_may_come_as_repeated_fields(mipush: Emulator, path: str, target: str) -> None:
    given = ["1001", "1002"] if path == "user_account" else ["regid-1", "regid-2"]
    form = [*message().items(), *((target, one) for one in given)]
    assert mipush.post(f"/v2/message/{path}", form).json()["code"] == 0
    assert mipush.journal()[-1]["targets"] == given
    assert len(mipush.phone("first")["shown"]) == len(mipush.phone("second")["shown"]) == 1


def test_an_unknown_path_or_method_is_not_an_interface(mipush: Emulator) -> None:
    assert mipush.post("/v2/message/alias", message(alias="x")).json()["code"] == 10020
    reply = mipush.session.get(f"{mipush.url}/v2/message/regid", timeout=60)
    assert (reply.status_code, reply.json()["code"]) == (405, 10020)


# --- targets


def test_one_unknown_account_fails_the_whole_call(mipush: Emulator) -> None:
    answer = mipush.accounts("1001,dave")
    assert (answer["code"], answer["reason"]) == (20301, "No valid targets!")
    assert mipush.phone("first")["shown"] == []


def test_unknown_accounts_may_be_ignored_beside_known_ones(mipush: Emulator) -> None:
    mipush.control("PUT", "settings", {"unknown_targets": "ignore"})
    answer = mipush.accounts("1001,dave")
    assert answer["code"] == 0
    assert "bad_regids" not in answer["data"]
    assert mipush.accounts("dave")["code"] == 20301


def test_unknown_targets_may_get_phones_of_their_own(mipush: Emulator) -> None:
    mipush.control("PUT", "settings", {"unknown_targets": "accept"})
    assert mipush.accounts("1001,erin")["code"] == 0
    assert mipush.regids("some-regid")["code"] == 0
    assert len(mipush.phone("phone of erin")["shown"]) == 1
    assert len(mipush.phone("phone some-regid")["shown"]) == 1


def test_bad_registration_ids_are_named_unless_all_are_bad(mipush: Emulator) -> None:
    answer = mipush.regids("regid-1,gone-1,gone-2")
    assert (answer["code"], answer["data"]["bad_regids"]) == (0, "gone-1,gone-2")
    assert len(mipush.phone("first")["shown"]) == 1
    assert mipush.regids("gone-1,gone-2")["code"] == 20301


def test_a_call_has_one_to_a_thousand_targets(mipush: Emulator) -> None:
    mipush.control("PUT", "settings", {"unknown_targets": "accept"})
    assert mipush.accounts(",".join(map(str, range(1000))))["code"] == 0
    assert mipush.accounts(",".join(map(str, range(1001))))["code"] == 10017
    assert mipush.accounts("")["code"] == 10016
    assert mipush.accounts("a,,b")["code"] == 10017
    assert mipush.accounts("x" * 64)["code"] == 0
    assert mipush.accounts("x" * 65)["code"] == 65017


def test_an_account_belongs_to_one_app(mipush: Emulator) -> None:
    changes = {"restricted_package_name": "com.example.other", "extra_template_param": '{"keywords1":"x"}'}
    answer = mipush.post("/v2/message/user_account", message(user_account="1001", **changes), OTHER_SECRET).json()
    assert answer["code"] == 20301


def test_a_phone_answers_to_its_present_user_only(mipush: Emulator) -> None:
    mipush.control("POST", "devices", {"phone": "second", "package": "com.example.chat", "accounts": ["1003"]})
    assert mipush.accounts("1002")["code"] == 20301
    assert mipush.accounts("1003")["code"] == 0
    assert mipush.regids("regid-2")["code"] == 20301
    mipush.control("DELETE", "devices/second")
    assert mipush.accounts("1003")["code"] == 20301


# --- phones


def test_a_phone_shows_only_the_first_message_of_a_jobkey(mipush: Emulator) -> None:
    first = mipush.accounts("1001", extra_jobkey="same")["data"]["id"]
    again = mipush.accounts("1001", extra_jobkey="same", notify_id="9")["data"]["id"]
    phone = mipush.phone("first")
    assert [shown["message_id"] for shown in phone["shown"]] == [first]
    assert phone["dropped"] == [{"message_id": again, "jobkey": "same"}]
    assert phone["rings"] == 1


def test_the_journal_names_the_phones_that_show_a_message(mipush: Emulator) -> None:
    mipush.accounts("1002", extra_jobkey="same")
    mipush.accounts("1001", extra_jobkey="same")
    mipush.accounts("1001", extra_jobkey="same")
    assert [entry["shown_on"] for entry in mipush.journal()[-3:]] == [["second"], ["first"], []]


def test_a_notify_id_replaces_and_different_ones_stack(mipush: Emulator) -> None:
    for notify_id, text in (("1", "a"), ("2", "b"), ("1", "c")):
        params = json.dumps({"keywords1": "Li Lei", "keywords2": text})
        mipush.accounts("1001", notify_id=notify_id, extra_template_param=params)
    phone = mipush.phone("first")
    shown = [(shown["notify_id"], shown["description"]) for shown in phone["shown"]]
    assert shown == [(2, "wrote: b"), (1, "wrote: c")]
    assert phone["rings"] == 3


def test_a_phone_with_two_of_the_accounts_rings_once(mipush: Emulator) -> None:
    mipush.accounts("1001,1002")
    assert mipush.phone("second")["rings"] == 1


# --- the credential check


def test_the_quota_may_be_asked_now_and_then(mipush: Emulator) -> None:
    url = f"{mipush.url}/v1/trace/quota/get"
    wrong = mipush.session.get(url, headers={"Authorization": "key=wrong"}, timeout=60)
    assert wrong.json()["code"] == 21301
    good = [mipush.session.get(url, headers={"Authorization": f"key={SECRET}"}, timeout=60) for _ in range(2)]
    assert [reply.json()["code"] for reply in good] == [0, 10027]


# --- faults


def test_codes_and_statuses_can_be_ordered_for_a_target(mipush: Emulator) -> None:
    mipush.fault(effect="code", code=200001, reason="over the daily total", target="1002")
    mipush.fault(effect="status", status=502, times=1, target="/v2/message/regid")
    assert mipush.accounts("1001")["code"] == 0
    answer = mipush.accounts("1001,1002")
    assert (answer["result"], answer["code"], answer["reason"]) == ("error", 200001, "over the daily total")
    assert mipush.post("/v2/message/regid", message(registration_id="regid-1")).status_code == 502
    assert mipush.regids("regid-1")["code"] == 0


def test_an_answer_can_be_no_json(mipush: Emulator) -> None:
    mipush.fault(effect="not_json", times=1)
    reply = mipush.post("/v2/message/user_account", message(user_account="1001"))
    assert reply.status_code == 200
    assert reply.text.startswith("<html>")


def test_a_share_of_the_calls_is_hit(mipush: Emulator) -> None:
    mipush.fault(effect="code", code=10002, share=0.5)
    codes = [mipush.accounts("1001")["code"] for _ in range(40)]
    assert 8 <= codes.count(10002) <= 32
    assert set(codes) == {0, 10002}


@pytest.mark.parametrize("effect", ["reset_after", "silence_after", "truncated"])
def test_a_message_can_be_shown_though_its_answer_is_lost(mipush: Emulator, effect: str) -> None:
    mipush.fault(effect=effect, times=1)
    client = http.client.HTTPConnection("127.0.0.1", mipush.port, timeout=0.2 if effect == "silence_after" else 60)
    headers = {"Authorization": f"key={SECRET}", "Content-Type": FORM}
    with pytest.raises((ConnectionResetError, TimeoutError, http.client.IncompleteRead)):
        _post(client, urlencode(message(user_account="1001", extra_jobkey="retry")), headers)
    client.close()
    assert mipush.accounts("1001", extra_jobkey="retry")["code"] == 0
    assert mipush.phone("first")["rings"] == 1


@pytest.mark.parametrize("effect", ["reset", "silence", "close"])
def test_a_call_can_end_before_anything_was_shown(mipush: Emulator, effect: str) -> None:
    mipush.fault(effect=effect, times=1, delay_ms=50)
    client = http.client.HTTPConnection("127.0.0.1", mipush.port, timeout=60)
    headers = {"Authorization": f"key={SECRET}", "Content-Type": FORM}
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        _post(client, urlencode(message(user_account="1001")), headers)
    client.close()
    assert mipush.phone("first")["rings"] == 0
    assert mipush.journal()[-1]["fault"] == effect


def _post(client: http.client.HTTPConnection, body: str, headers: dict[str, str]) -> bytes:
    client.request("POST", "/v2/message/user_account", body, headers)
    return client.getresponse().read()


@pytest.mark.parametrize("order", [{"effect": "explode"}, {"effect": "code", "times": "x"}, {"effekt": "code"}])
def test_an_unknown_fault_is_refused(mipush: Emulator, order: dict[str, Any]) -> None:
    assert mipush.session.post(f"{mipush.url}/_emulator/faults", json=order, timeout=60).status_code == 400


@pytest.mark.parametrize(
    "phone",
    [{}, {"phone": "x"}, {"phone": "x", "package": "unknown"}, {"phone": "x", "accounts": "1"}, {"fone": "x"}, 5],
)
def test_a_phone_that_makes_no_sense_is_refused(mipush: Emulator, phone: object) -> None:
    assert mipush.session.post(f"{mipush.url}/_emulator/devices", json=phone, timeout=60).status_code == 400


# --- receipts


Receipts = list[tuple[str, dict[str, Any]]]  # with the content type of their posts, each post's values in a row


@contextmanager
def receiver() -> Iterator[tuple[str, Receipts]]:
    """An address that receipts go to, and what came; it answers 500."""
    came: Receipts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            said = json.loads(parse_qs(body, strict_parsing=True)["data"][0])
            came.extend((self.headers["Content-Type"], {"message_id": name} | one) for name, one in said.items())
            self.send_error(500)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/receipts", came
        finally:
            server.shutdown()
            thread.join()


def all_posted(mipush: Emulator) -> None:
    while mipush.control("GET", "journal")["counters"]["pending"]:
        """They are on their way."""


def test_receipts_are_posted_once_to_the_callback(mipush: Emulator) -> None:
    mipush.control("PUT", "settings", {"unknown_targets": "ignore"})
    with receiver() as (url, came):
        changes = {"extra_callback": url, "extra_callback_type": "17"}
        answer = mipush.accounts("1001,dave", **changes, extra_callback_param="opaque", extra_jobkey="j")
        all_posted(mipush)
    assert {kind for kind, _ in came} == {FORM}
    assert [(r["message_id"], r["type"], r["targets"], r["param"], r["jobkey"]) for _, r in came] == [
        (answer["data"]["id"], 1, "1001", "opaque", "j"),
        (answer["data"]["id"], 16, "dave", "opaque", "j"),
    ]
    assert all(isinstance(receipt["timestamp"], int) for _, receipt in came)


def test_a_receipt_says_what_became_of_the_message_at_its_phone(mipush: Emulator) -> None:
    mipush.control("POST", "devices", [
        {"phone": name, "accounts": [f"{name}-1"], "package": "com.example.chat", "state": state}
        for name, state in (("lit", "on"), ("shut", "disabled"), ("far", "away"), ("more", "on"))
    ])  # fmt: skip
    spent = int(mipush.accounts("1001")["data"]["day_acked"])
    with receiver() as (url, came):
        mipush.control("PUT", "settings", {"day_quota": spent + 3})
        changes = {"extra_callback": url, "extra_callback_type": str(1 + 2 + 16 + 32 + 128 + 1024)}
        mipush.accounts("lit-1,shut-1,far-1,more-1", **changes)
        assert mipush.control("POST", "phones/lit/click") == {"clicked": 1}
        assert mipush.control("POST", "phones/lit/click") == {"clicked": 0}
        all_posted(mipush)
        assert mipush.accounts("lit-1", **changes)["code"] == 200001
        mipush.control("PUT", "settings", {"day_quota": 1_000_000})
        mipush.control("DELETE", "devices/lit")
    receipts = {receipt["type"]: receipt for _, receipt in came}
    assert {kind: receipt["targets"] for kind, receipt in receipts.items()} == {
        1: "lit-1", 2: "lit-1", 32: "shut-1", 128: "more-1", 1024: "far-1",
    }  # fmt: skip
    assert receipts[128]["extra"] == {"quota": str(spent + 3), "ack": str(spent + 3)}


@pytest.mark.parametrize("order", [{}, {"day_quota": -1}, {"day_quota": True}, {"day_quota": "9"}, {"other": 1}])
def test_an_order_that_makes_no_sense_is_refused(mipush: Emulator, order: object) -> None:
    assert mipush.session.put(f"{mipush.url}/_emulator/settings", json=order, timeout=60).status_code == 400


# --- TLS, settings


def test_over_tls_only_those_who_trust_its_authority_are_served(tmp_path: Path) -> None:
    head = f'tls_folder = "{tmp_path / "tls"}"\nunknown_targets = "accept"'
    with running(tmp_path, head) as emulator:
        with pytest.raises(requests.exceptions.SSLError):
            emulator.accounts("1001")
        emulator.session.verify = emulator.announced["ca_file"]
        assert emulator.accounts("1001")["code"] == 0


def test_without_the_strict_setting_no_channel_is_needed(tmp_path: Path) -> None:
    with running(tmp_path, 'require_template = false\nunknown_targets = "accept"') as emulator:
        bare = dict.fromkeys(("extra_channel_id", "extra_template_id", "extra_template_param"))
        assert emulator.accounts("1001", **bare)["code"] == 0
        assert emulator.accounts("1001", **bare, extra_own="x", time_to_live="86400001")["code"] == 10017
        assert emulator.accounts("1001", **(bare | {"extra_channel_id": "9"}))["code"] == 27001
        shown = emulator.phone("phone of 1001")["shown"]
        assert [(s["title"], s["description"]) for s in shown] == [("Li Lei", "hello")]


def test_all_faults_in_the_settings_are_named_and_no_secret_is_shown() -> None:
    template = {"template_id": "M1", "parameters": ["a", ""], "title": " {a} wrote"}
    app = {
        "package": 5,
        "app_secret": SECRET,
        "channels": [{"channel_id": "1", "kind": "odd", "templates": [template]}],
    }
    assert faults_of(MipushConfig, {"apps": [app], "unknown_targets": "maybe", "tls": True}) == [
        "apps.0.package: input should be a valid string",
        "apps.0.channels.0.kind: input should be 'private' or 'public'",
        "apps.0.channels.0.templates.0.parameters.1: string should have at least 1 character",
        "apps.0.channels.0.templates.0.title: a title may not begin with a variable",
        "unknown_targets: input should be 'refuse', 'ignore' or 'accept'",
        "tls: unknown key",
    ]


def test_an_app_needs_a_template_unless_none_is_required() -> None:
    apps = [{"package": "p", "app_secret": SECRET}]
    assert faults_of(MipushConfig, {"apps": apps}) == [
        "apps.0.channels: expected one with a template, as long as require_template is true"
    ]
    assert SECRET not in repr(MipushConfig.model_validate({"apps": apps, "require_template": False}))


def test_two_apps_have_two_secrets() -> None:
    app = {"package": "p", "app_secret": SECRET}
    assert faults_of(MipushConfig, {"apps": [app, app], "require_template": False}) == [
        "apps: two apps have the same app_secret, which distinguishes the apps"
    ]

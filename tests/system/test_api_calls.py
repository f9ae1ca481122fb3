"""MIMC's own API through gunicorn, against the emulated MIMC: a group's life, history, a bot, and every row once."""

import base64
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy.mimc.calls import CALLS, Call, Family, Form, Proof
from tests.system.rig import MAIN, OTHER, ROOT, Rig

FAMILIES = ",".join(family.value for family in Family)
NOW_MS = 4_102_444_800_000  # the year 2100: later than any message


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with (
        tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder,
        Rig(Path(folder) / "r", without=("mipush", "apns"), mimc={"undocumented": True}) as it,
    ):
        it.start_web(APP_PROXY_APPS__MAIN__API=FAMILIES, APP_PROXY_LIMITS__UNLIMITED_GROUP_PER_APP="50/hour")
        yield it


def ask(rig: Rig, method: str, path: str, body: object = None, who: str | None = "alice", **more: Any) -> Any:
    """`who` None: the headers have what proves the caller."""
    headers = {**({"Authorization": f"Bearer {rig.bearer(who)}"} if who else {}), **more.pop("headers", {})}
    return rig.http.request(method, rig.web + path, json=body, headers=headers, timeout=10, **more)


def data_of(answer: requests.Response) -> Any:
    assert (answer.status_code, answer.json()["code"]) == (200, 200), answer.text
    return answer.json()["data"]


def keys(rig: Rig, *argv: str) -> str:
    config = ["--config", str(rig.folder / "proxy.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "keys", *argv, *config], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def new_key(rig: Rig, name: str, *scopes: str) -> dict[str, str]:
    wanted = [part for scope in scopes for part in ("--scope", scope)]
    shown = keys(rig, "add", name, *wanted, "--as", "客服", "--app", "main")
    return {"Authorization": f"Bearer {rig.secret('an API key', shown)}"}


def a_group(rig: Rig, owner: str = "alice", members: str = "bob,carol") -> str:
    made = data_of(ask(rig, "POST", f"/api/topic/{MAIN}", {"topicName": "g", "accounts": members}, owner))
    topic_id: str = made["topicInfo"]["topicId"]
    return topic_id


def members_of(topic: Any) -> set[str]:
    return {member["account"] for member in topic["members"]}


def test_a_groups_life_by_its_members_own_sessions(rig: Rig) -> None:
    group = f"/api/topic/{MAIN}/{a_group(rig)}"
    assert members_of(data_of(ask(rig, "GET", group, who="bob"))) == {"alice", "bob", "carol"}
    assert members_of(data_of(ask(rig, "POST", f"{group}/accounts", {"accounts": ["dora"]}, "bob"))) >= {"dora"}
    refused = ask(rig, "DELETE", f"{group}/accounts", params={"accounts": "dora"}, who="bob")  # he owns nothing
    assert (refused.status_code, refused.json()["code"] == 200) == (200, False)
    left = data_of(ask(rig, "DELETE", f"{group}/accounts", params={"accounts": "dora"}))
    assert members_of(left) == {"alice", "bob", "carol"}
    assert (
        data_of(ask(rig, "PUT", group, {"bulletin": "hi", "ownerAccount": "bob"}))["topicInfo"]["ownerAccount"] == "bob"
    )
    assert ask(rig, "DELETE", f"{group}/account").json()["code"] == 200  # alice leaves
    assert [it["topicId"] for it in data_of(ask(rig, "GET", f"/api/topic/{MAIN}/account", who="bob"))] == [group[-17:]]
    gone = ask(rig, "DELETE", group, who="bob")
    assert gone.json()["message"] == "success！"  # as it came


def test_history_is_read_by_those_who_wrote_it(rig: Rig) -> None:
    rig.secret("a message", "words between erin and frank")
    sent = {"toAccount": "frank", "msg": "words between erin and frank", "msgType": "", "isStore": True}
    data_of(ask(rig, "POST", "/api/push/p2p/", sent, "erin"))
    span = {"fromAccount": "erin", "toAccount": "frank", "utcToTime": str(NOW_MS), "count": "20"}
    for reader in ("erin", "frank"):
        found = data_of(ask(rig, "POST", "/api/msg/p2p/queryOnCount/", span, reader))
        assert [base64.b64decode(it["payload"]) for it in found["messages"]] == [b"words between erin and frank"]
    assert ask(rig, "POST", "/api/msg/p2p/queryOnCount/", span, "eve").status_code == 403


def test_a_bot_with_a_chinese_account_writes_until_its_key_is_revoked(rig: Rig) -> None:
    shown = new_key(rig, "bot", "push:send", "topics:admin")
    topic_id = data_of(
        ask(rig, "POST", f"/api/topic/{MAIN}", {"topicName": "n", "accounts": "bob"}, None, headers=shown)
    )
    assert members_of(topic_id) == {"客服", "bob"}
    message = {"topicId": topic_id["topicInfo"]["topicId"], "msg": "hello", "msgType": ""}
    assert "packetId" in data_of(ask(rig, "POST", "/api/push/p2t/", message, None, headers=shown))
    assert ask(rig, "POST", "/api/account/token", {}, None, headers=shown).status_code == 401
    keys(rig, "revoke", "bot")
    for _ in range(8):  # whichever web process takes it
        refused = ask(rig, "POST", "/api/push/p2t/", message, None, headers=shown)
        assert refused.status_code == 401


def test_an_app_that_opens_nothing_has_nothing(rig: Rig) -> None:
    assert ask(rig, "GET", f"/api/topic/{OTHER}/account").status_code == 404
    assert ask(rig, "POST", "/api/push/p2p/", {"appId": OTHER, "toAccount": "bob", "msg": "x"}).status_code == 404


@pytest.fixture(scope="module")
def world(rig: Rig) -> dict[str, Any]:
    """A group, an unlimited group, and a message in each conversation, by its sequence."""
    topic_id = a_group(rig)
    unlimited = data_of(ask(rig, "POST", "/api/uctopic", {"topicName": "u"}))["topicId"]
    found: dict[str, Any] = {"topic": topic_id, "uctopic": unlimited}
    for of, path, to in (("p2p", "p2p/", {"toAccount": "bob"}), ("p2t", "p2t/", {"topicId": topic_id})):
        data_of(ask(rig, "POST", f"/api/push/{path}", {**to, "msg": "hello", "msgType": "", "isStore": True}))
        whose = {"fromAccount": "alice", "toAccount": "bob"} if of == "p2p" else {"account": "alice", **to}
        kept = ask(rig, "POST", f"/api/msg/{of}/queryOnCount/", {**whose, "utcToTime": NOW_MS, "count": 1})
        found[of] = data_of(kept)["messages"][0]["sequence"]
    return found


FORMS: dict[Form, object] = {
    Form.TEXT: "bob", Form.NUMBER: "1", Form.FLAG: True, Form.TEXTS: ["bob", "carol"], Form.ACCOUNTS: "bob,carol",
    Form.CODING: "", Form.PAYLOAD: "hello", Form.PAYLOADS: ["hello"],
}  # fmt: skip
MEMBERS: dict[str, object] = {
    "utcFromTime": NOW_MS - 60_000, "utcToTime": NOW_MS, "count": 20, "startSeq": 1, "stopSeq": 9, "bizType": "",
    "msgExtraFlag": "true", "fromAccount": "alice", "ownerAccount": "alice", "extra": "{}",
    "member": "carol",
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_every_row_is_one_of_mimcs_calls(rig: Rig, world: dict[str, Any], call: Call) -> None:
    """What the emulator answers to a call that it has not, with credentials that it does not take or without a member
    that it needs is no success.
    """
    topic_id = world["uctopic" if call.family is Family.UCTOPIC or "p2u" in call.name else "topic"]
    if call.name == "uctopic destroy":  # the others need theirs
        topic_id = data_of(ask(rig, "POST", "/api/uctopic", {"topicName": "x"}))["topicId"]
    elif call.name in ("topic destroy", "topic kick", "contact p2t remove"):
        topic_id = a_group(rig)
    sequence = world.get("p2t" if "p2t" in call.name else "p2p")
    samples = {**MEMBERS, "sequence": sequence, "topicId": topic_id, "topicIds": [topic_id]}
    samples |= {"blackTopicId": topic_id, "startUuid": "0", "account": "bob" if "contact" in call.name else "alice"}

    def sampled(rows: Mapping[str, Form]) -> dict[str, Any]:
        return {name: samples.get(name, FORMS.get(form)) for name, form in rows.items() if name != "ownerUuid"}

    path = call.path.replace("<app_id>", MAIN).replace("<topic_id>", str(topic_id))
    body = sampled(call.members) if call.method in ("POST", "PUT") else None
    query, headers = ({name: str(it) for name, it in sampled(of).items()} for of in (call.query, call.headers))
    rig.http.delete(f"{rig.control('mimc')}/journal", timeout=10)
    answer = ask(rig, call.method, path, body, params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    owner_may_not_leave = call.name == "topic leave"
    assert answer.json()["code"] == (500 if owner_may_not_leave else 200), answer.text
    (entry,) = [it for it in journal(rig) if it.get("kind") == "api"]
    assert (entry["account"], entry["app_id"]) == ("alice", MAIN)
    assert entry["credentials"] == ("body" if call.proof is Proof.BODY else "token")


def journal(rig: Rig) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rig.http.get(f"{rig.control('mimc')}/journal", timeout=10).json()["entries"]
    return found


def test_a_change_that_was_cut_off_left_once(rig: Rig) -> None:
    data_of(ask(rig, "GET", f"/api/topic/{MAIN}/account"))  # leaves kept connections
    rig.http.delete(f"{rig.control('mimc')}/journal", timeout=10)
    rig.fault("mimc", effect="reset", target="alice")
    answers = [ask(rig, "POST", "/api/push/p2p/", {"toAccount": "bob", "msg": "once"}) for _ in range(3)]
    rig.end_faults("mimc")
    assert [answer.status_code for answer in answers] == [504] * 3
    assert "may have been carried out" in answers[0].json()["message"]
    assert len([it for it in journal(rig) if it.get("kind") == "api"]) == 3


def push(rig: Rig, key: str, text: str = "hi", who: str = "alice") -> requests.Response:
    message = {"toAccount": "bob", "msg": text, "msgType": ""}
    answer: requests.Response = ask(rig, "POST", "/api/push/p2p/", message, who, headers={"Idempotency-Key": key})
    return answer


def pushes_left(rig: Rig) -> int:
    return len([it for it in journal(rig) if it.get("kind") == "api" and it["path"] == "/api/push/p2p/"])


@pytest.fixture
def _fresh_journal(rig: Rig) -> None:
    rig.http.delete(f"{rig.control('mimc')}/journal", timeout=10)


@pytest.mark.usefixtures("_fresh_journal")
def test_a_repeat_with_the_same_key_gets_the_first_answer_and_does_not_leave(rig: Rig) -> None:
    first = push(rig, "k-1")
    assert data_of(first)["packetId"]
    for _ in range(4):  # whichever web process takes it
        assert push(rig, '"k-1"').content == first.content
    assert pushes_left(rig) == 1
    assert push(rig, "k-1", "other words").status_code == 422
    assert push(rig, "k-1", who="bob").json()["data"] != first.json()["data"]  # another caller's key
    assert pushes_left(rig) == 2


@pytest.mark.usefixtures("_fresh_journal")
def test_a_call_that_was_cut_off_is_never_sent_again(rig: Rig) -> None:
    rig.fault("mimc", effect="reset", target="alice")
    assert push(rig, "k-2").status_code == 504
    rig.end_faults("mimc")
    for _ in range(3):
        again = push(rig, "k-2")
        assert (again.status_code, "may have been sent" in again.json()["message"]) == (504, True)
    assert pushes_left(rig) == 1


@pytest.mark.usefixtures("_fresh_journal")
def test_a_call_that_is_refused_here_leaves_its_key_free(rig: Rig) -> None:
    assert push(rig, "k-3", "x" * 16_000).status_code == 400
    assert push(rig, "k-3").status_code == 200
    assert pushes_left(rig) == 1


def test_an_account_in_a_loop_is_told_to_wait_and_a_service_still_sends(rig: Rig) -> None:
    """Of 50 an hour one account has 20, and services keep 10."""
    topics = {"topicIds": ["7"] * 20, "message": "x", "msgType": ""}
    assert ask(rig, "POST", "/api/push/ucs/multiTopicPush/", topics, "loop").status_code == 200
    refused = ask(rig, "POST", "/api/push/ucs/multiTopicPush/", {**topics, "topicIds": ["7"]}, "loop")
    assert (refused.status_code, int(refused.headers["Retry-After"]) > 60) == (429, True)
    shown = new_key(rig, "urgent", "push:send")
    assert ask(rig, "POST", "/api/push/ucs/multiTopicPush/", topics, None, headers=shown).status_code == 200

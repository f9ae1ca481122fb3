"""What a client asks becomes what MIMC is asked: whose account, which app, whose credentials, and what is refused."""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import get_args

import pytest

from proxy.errors import BadRequest, NotAllowed, NotFound, Refusal
from proxy.mimc.api_request import Acting, ApiRequest, Asked, prepare, read_members, with_credentials
from proxy.mimc.calls import CALLS, MOST_PAYLOAD, Actor, Call, Family, Form, Proof
from proxy.settings import ApiFamily, AppSettings

APP_ID = "2882303761517000001"
APP = AppSettings.model_validate(
    {
        "app_id": APP_ID,
        "app_key": "the-key",
        "app_secret": "the-secret",
        "url_secret": "a-url-secret-of-32-characters-00",
    }
)
ROWS = {call.name: call for call in CALLS}
ALICE, SYSTEM = Acting("alice"), Acting("system", is_service=True)
ANYONE = Acting("system", is_service=True, for_anyone=True)


def asked(members: Mapping[str, object] | None = None, **more: object) -> Asked:
    body = b"" if members is None else json.dumps(members).encode()
    return Asked(**{"body": body, "members": read_members(body), **more})  # type: ignore[arg-type]


def sent(call: str, given: Asked, acting: Acting = ALICE) -> ApiRequest:
    return with_credentials(prepare(ROWS[call], given, acting, APP), APP, None if acting.is_service else "the-token")


def body_of(request: ApiRequest) -> dict[str, object]:
    found: dict[str, object] = json.loads(request.body or b"{}")
    return found


def test_a_push_has_the_apps_credentials_and_the_callers_account() -> None:
    request = sent("push p2p", asked({"toAccount": "bob", "msg": "aGk=", "msgType": "base64", "new": 2**60 + 1}))
    assert (request.method, request.target) == ("POST", "/api/push/p2p/")
    assert body_of(request) == {
        "toAccount": "bob", "msg": "aGk=", "msgType": "base64", "new": 2**60 + 1, "fromAccount": "alice",
        "appId": APP_ID, "appKey": "the-key", "appSecret": "the-secret",
    }  # fmt: skip
    assert not [line for line in request.headers if line.startswith("token")]


def test_a_users_call_travels_with_their_own_token_and_a_services_with_the_apps() -> None:
    assert "token: the-token" in sent("topic list", asked()).headers
    assert not [it for it in sent("topic list", asked()).headers if "the-secret" in it]
    headers = sent("topic list", asked(), SYSTEM).headers
    assert {"appId: " + APP_ID, "appKey: the-key", "appSecret: the-secret", "appAccount: system"} <= set(headers)


def test_an_account_that_is_not_ascii_goes_into_a_header_in_base64() -> None:
    headers = sent("topic list", asked(), Acting("客服", is_service=True)).headers
    assert {f"appAccount: {b64encode('客服'.encode()).decode()}", "appAccountEncode: base64"} <= set(headers)


NAMED_BY_SERVICES = [("history p2t query", "account"), ("history p2p query", "fromAccount"),
                     ("history p2p query", "toAccount"), ("push p2p", "fromAccount")]  # fmt: skip


@pytest.mark.parametrize(("call", "name"), NAMED_BY_SERVICES)
@pytest.mark.parametrize("named", ["bob\r\nappAccount: eve", "bob\0", "", "\ud800", "\x85", "客" * 86])
def test_what_a_service_names_as_an_account_is_one(call: str, name: str, named: str) -> None:
    """It goes into a header, too."""
    with pytest.raises(BadRequest, match=f"^{name}: expected an account"):
        prepare(ROWS[call], asked({name: named}), ANYONE, APP)


@pytest.mark.parametrize(("call", "name"), [NAMED_BY_SERVICES[0], NAMED_BY_SERVICES[-1]])
def test_a_service_that_names_null_is_refused(call: str, name: str) -> None:
    with pytest.raises(BadRequest, match=f"^{name}: expected an account"):
        prepare(ROWS[call], asked({name: None}), ANYONE, APP)


@pytest.mark.parametrize("account", [" bot", "bot ", " "])
def test_blanks_at_the_ends_of_an_account_arrive(account: str) -> None:
    headers = sent("topic list", asked(), Acting(account, is_service=True)).headers
    assert {f"appAccount: {b64encode(account.encode()).decode()}", "appAccountEncode: base64"} <= set(headers)


def test_what_is_not_changed_leaves_as_it_came() -> None:
    body = b'{ "topicName": "a", "big": 21351198708203520, "x": 1.50 }'
    given = Asked(body=body, members=read_members(body))
    assert sent("topic update", Asked("21351198708203520", body=body, members=read_members(body))).body == body
    assert sent("topic create", given).body == body


def test_a_clients_own_credentials_go_no_further() -> None:
    theirs = {"appKey": "theirs", "appSecret": "theirs", "token": "theirs", "appAccount": "eve"}
    for call in CALLS:
        query = [*theirs.items(), ("appId", APP_ID)]
        request = sent(call.name, asked({"fromAccount": "alice", **theirs}, query=query, topic_id="7"))
        assert "theirs" not in f"{request.target} {request.headers} {request.body!r}", call.name
        assert "eve" not in f"{request.target} {request.body!r}", call.name


@pytest.mark.parametrize("call", [it for it in CALLS if it.actor in (Actor.FROM_ACCOUNT, Actor.ACCOUNT)], ids=repr)
def test_the_acting_account_is_filled_in_and_another_is_refused(call: Call) -> None:
    assert prepare(call, asked({}), ALICE, APP).members == {
        call.actor.value: "alice",
        **({"appId": APP_ID} if call.proof is Proof.BODY else {}),
    }
    for named in ("bob", "Alice", "", " alice"):
        with pytest.raises(NotAllowed):
            prepare(call, asked({call.actor.value: named}), ALICE, APP)
    with pytest.raises(BadRequest, match=call.actor.value):
        prepare(call, asked({call.actor.value: 7}), ALICE, APP)
    assert prepare(call, asked({call.actor.value: "bob"}), ANYONE, APP).account == "bob"


@pytest.mark.parametrize("call", [it for it in CALLS if it.actor is Actor.ONE_OF_TWO], ids=repr)
def test_one_of_two_is_the_caller_and_nothing_is_overwritten(call: Call) -> None:
    for two in ({"fromAccount": "alice", "toAccount": "bob"}, {"fromAccount": "bob", "toAccount": "alice"}):
        prepared = prepare(call, asked(two), ALICE, APP)
        assert (prepared.account, prepared.members) == ("alice", None)
    for strangers in ({"fromAccount": "bob", "toAccount": "carol"}, {}, {"fromAccount": "bob"}):
        with pytest.raises(NotAllowed):
            prepare(call, asked(strangers), ALICE, APP)
    assert prepare(call, asked({"fromAccount": "bob", "toAccount": "carol"}), ANYONE, APP).account == "carol"


@pytest.mark.parametrize("call", [it for it in CALLS if it.actor is not Actor.CREDENTIALS], ids=lambda it: it.name)
def test_a_query_names_nobody_else(call: Call) -> None:
    name = "toAccount" if call.actor is Actor.ONE_OF_TWO else call.actor.value
    body = asked({"fromAccount": "alice", "toAccount": "bob", "account": "alice"}).members
    prepare(call, asked(body, query=[(name, str(body[name]))]), ALICE, APP)
    with pytest.raises(NotAllowed, match=f"^{name}: "):
        prepare(call, asked(body, query=[(name, str(body[name])), (name, "eve")]), ALICE, APP)


def test_a_new_owner_is_a_value_and_not_the_caller() -> None:
    given = asked({"ownerAccount": "bob"}, topic_id="21351198708203520")
    request = sent("topic update", given)
    assert (request.method, request.target) == ("PUT", f"/api/topic/{APP_ID}/21351198708203520")
    assert body_of(request) == {"ownerAccount": "bob"}
    assert b"alice" not in (request.body or b"")


def test_the_app_is_the_sections_whatever_the_client_names() -> None:
    prepare(ROWS["topic list"], asked(app_ids=(APP_ID, int(APP_ID))), ALICE, APP)
    with pytest.raises(NotFound):
        prepare(ROWS["topic list"], asked(app_ids=(APP_ID, "2882303761517000009")), ALICE, APP)
    with pytest.raises(BadRequest, match="appId"):
        prepare(ROWS["topic list"], asked(app_ids=(2882303761517000001.0,)), ALICE, APP)


WRONG: dict[Form, tuple[object, ...]] = {
    Form.TEXT: (7, ["a"], {}, True),
    Form.ID: ("", "7a", "٣", -1, True, 1.5, "1" * 21),
    Form.NUMBER: ("", "later", -1, False, [], "1" * 21),
    Form.FLAG: ("true", 1, []),
    Form.TEXTS: ("bob", [1], {}),
    Form.IDS: (7, ["x"], [True]),
    Form.ACCOUNTS: ("a,,b", ",", ",a", ["a,b"], ["a", ""], 7, [1]),
    Form.CODING: ("gzip", 1, ["base64"]),
    Form.PAYLOAD: ("x" * (MOST_PAYLOAD + 1), "中" * (MOST_PAYLOAD // 3 + 1), 7, b"x".hex() * 20_000),
    Form.PAYLOADS: ("x", ["x" * (MOST_PAYLOAD + 1)], [1]),
}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_a_member_of_another_type_is_refused_by_its_name(call: Call) -> None:
    own = {"fromAccount": "alice"} if call.actor is Actor.ONE_OF_TWO else {}
    for name, form in call.members.items():
        for value in WRONG[form]:
            with pytest.raises(BadRequest, match=rf"^{name}: "):
                prepare(call, asked({**own, name: value}, topic_id="7"), ALICE, APP)
    for name, form in call.query.items():
        for value in (it for it in WRONG[form] if isinstance(it, str)):
            with pytest.raises(BadRequest, match=rf"^{name}: "):
                prepare(call, asked(own, query=[(name, value)], topic_id="7"), ALICE, APP)
    for name in call.headers:
        for value in ("x", "", "7\r\nappSecret: x", "1" * 21):
            with pytest.raises(BadRequest, match=rf"^{name}: "):
                prepare(call, asked(own, headers={name: value}), ALICE, APP)


def test_the_largest_payload_passes_in_both_spellings() -> None:
    prepare(ROWS["push p2p"], asked({"msg": "x" * MOST_PAYLOAD}), ALICE, APP)
    whole = b64encode(bytes(MOST_PAYLOAD)).decode()
    prepare(ROWS["push p2p"], asked({"msg": whole, "msgType": "base64"}), ALICE, APP)
    with pytest.raises(BadRequest, match="msg"):
        prepare(ROWS["push p2p"], asked({"msg": whole + "AAAA", "msgType": "base64"}), ALICE, APP)


def test_accounts_of_an_array_are_joined_as_mimc_takes_them() -> None:
    request = sent("topic invite", asked({"accounts": ["a", "b"]}, topic_id="7"))
    assert body_of(request) == {"accounts": "a,b"}


def test_a_push_to_several_counts_as_many() -> None:
    assert prepare(ROWS["push p2p more"], asked({"toAccounts": ["a", "b", "c"]}), ALICE, APP).amount == 3
    assert prepare(ROWS["push p2t more"], asked({"topicIds": [1, "2"]}), ALICE, APP).amount == 2
    assert prepare(ROWS["push p2p"], asked({}), ALICE, APP).amount == 1


def test_a_query_goes_along_in_one_spelling() -> None:
    given = asked(query=[("accounts", "bob,张三"), ("new", "1 2"), ("credentials", "a")], topic_id="7")
    assert (
        sent("topic kick", given).target
        == f"/api/topic/{APP_ID}/7/accounts?accounts=bob%2C%E5%BC%A0%E4%B8%89&new=1%202&credentials=a"
    )


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"a":1,"a":2}', b'{"a":1e999}', b'{"a":NaN}', b"\xff", b'"x"'])
def test_what_is_no_plain_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal):
        read_members(body)


def test_the_settings_know_the_families() -> None:
    assert set(get_args(ApiFamily)) == {family.value for family in Family}


def test_each_call_is_one_row() -> None:
    for of_each in ([it.name for it in CALLS], [(it.method, it.path.rstrip("/")) for it in CALLS]):
        assert len(set(of_each)) == len(of_each)


def test_neither_credentials_nor_content_are_in_a_repr() -> None:
    prepared = prepare(ROWS["push p2p"], asked({"toAccount": "bob", "msg": "words of alice"}), ALICE, APP)
    shown = f"{asked({'msg': 'words of alice'})!r} {prepared!r} {with_credentials(prepared, APP, 'the-token')!r}"
    shown += repr(with_credentials(prepare(ROWS["topic list"], asked(), ALICE, APP), APP, "the-token"))
    assert not [it for it in ("words of alice", "the-key", "the-secret", "the-token") if it in shown]

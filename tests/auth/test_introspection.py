"""Opaque sessions, asked about at a URL of the developer's own."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.auth import Authenticated, Credentials, Refused, Unavailable, build_authenticator
from proxy.auth.introspection import RESTING, UNREADABLE, Introspection
from proxy.auth.introspection_answer import (
    BAD_ANSWER,
    BAD_STATUS,
    CLIENT_REFUSED,
    NO_ACCOUNT,
    NO_USER,
    NOT_ACTIVE,
    OTHER_AUDIENCE,
    judge,
)
from proxy.auth.introspection_client import NO_CONNECTION, TIMED_OUT, TOO_LONG
from proxy.emulators.certificates import ensure_certificates
from proxy.settings import AuthSettings, IntrospectionSettings, Settings
from tests.auth.endpoint import Asked, Endpoint, Reply, always, endpoint

NOWHERE = "http://127.0.0.1:1/"
OAUTH: dict[str, Any] = {"style": "rfc7662", "client_id": "the broker", "client_secret": "a:secret/+"}
BY_COOKIE: dict[str, Any] = {"cookies": ["sessionid"]}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def settings(url: str = NOWHERE, **keys: Any) -> IntrospectionSettings:
    return IntrospectionSettings.model_validate({"url": url, **keys})


def bearer(opaque: str = "opaque-1") -> Credentials:
    return Credentials(f"Bearer {opaque}", {})


def cookie(value: str = "abc", **others: str) -> Credentials:
    return Credentials(None, {"sessionid": value, **others})


def told(account: object) -> Reply:
    return Reply(200, json.dumps({"account": account}).encode())


def echo(asked: Asked) -> Reply:
    """A caller who shows something is the user of that name."""
    shown = asked.headers.get("authorization") or asked.headers.get("cookie")
    return told(shown) if shown else Reply(401)


@pytest.fixture
def site() -> Iterator[Endpoint]:
    with endpoint(echo) as it:
        yield it


# what is passed on


def test_the_authorization_header_goes_there_as_it_came(site: Endpoint) -> None:
    backend = Introspection(settings(site.url))
    shown = "Token some, other=scheme"
    assert backend.authenticate(Credentials(f" {shown} ", {})) == Authenticated(shown, None, "introspection")
    (asked,) = site.asked
    assert (asked.method, asked.path, asked.body) == ("GET", "/whoami/", b"")
    assert asked.headers["accept"] == "application/json"


def test_only_the_named_cookies_go_there_and_the_answer_says_that_they_were_the_proof(site: Endpoint) -> None:
    backend = Introspection(settings(site.url, cookies=["sessionid", "team", "absent"], method="POST"))
    user = backend.authenticate(cookie("a b,c", team="t%3D", tracking="x"))
    assert user == Authenticated("sessionid=a b,c; team=t%3D", None, "introspection", by_cookie=True)
    assert site.asked[0].method == "POST"


def test_a_cookie_that_came_twice_is_not_passed_on_and_another_one_does_not_matter(site: Endpoint) -> None:
    backend = Introspection(settings(site.url, **BY_COOKIE))
    shown = replace(cookie(), ambiguous=frozenset({"sessionid"}))
    assert backend.authenticate(shown) == Refused("a cookie came twice")
    assert site.asked == []
    assert isinstance(backend.authenticate(replace(shown, ambiguous=frozenset({"tracking"}))), Authenticated)


def test_a_cookie_is_not_the_proof_where_a_header_is_passed_on(site: Endpoint) -> None:
    both = Credentials("Bearer x", {"sessionid": "abc"})
    user = Introspection(settings(site.url, **BY_COOKIE)).authenticate(both)
    assert user == Authenticated("Bearer x", None, "introspection")
    assert "cookie" not in site.asked[0].headers
    user = Introspection(settings(site.url, **BY_COOKIE, pass_authorization=False)).authenticate(both)
    assert user == Authenticated("sessionid=abc", None, "introspection", by_cookie=True)
    assert "authorization" not in site.asked[1].headers


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({}, Credentials(None, {"sessionid": "abc"})),
        ({}, Credentials("  ", {})),
        (BY_COOKIE, Credentials(None, {"sessionid": "", "other": "x"})),
        ({**BY_COOKIE, "pass_authorization": False}, bearer()),
        (OAUTH, Credentials("Basic YTpi", {"sessionid": "abc"})),
        (OAUTH, Credentials("Bearer two words", {})),
    ],
)
def test_credentials_of_another_kind_are_left_to_the_next_backend(
    site: Endpoint, keys: dict[str, Any], shown: Credentials
) -> None:
    assert Introspection(settings(site.url, **keys)).authenticate(shown) is None
    assert not site.asked


@pytest.mark.parametrize(
    "shown",
    [
        Credentials("Bearer a\r\nX-Other: b", {}),
        Credentials("Bearer \x00", {}),
        Credentials("Bearer \u5f20", {}),
        Credentials("Bearer \ud800", {}),
        Credentials("x" * 8001, {}),
        cookie("a; admin=1"),
        cookie("a\r\nX-Other: b"),
        cookie('"quoted"'),
        cookie("a\\b"),
        cookie("\u5f20"),
        cookie("x" * 8000),
    ],
)
def test_what_could_become_another_header_or_cookie_is_refused_unasked(site: Endpoint, shown: Credentials) -> None:
    assert Introspection(settings(site.url, **BY_COOKIE)).authenticate(shown) == UNREADABLE
    assert not site.asked


def test_a_token_is_asked_about_as_the_rfc_says(site: Endpoint) -> None:
    site.answer = lambda asked: Reply(200, json.dumps({"active": True, "sub": asked.form()["token"]}).encode())
    user = Introspection(settings(site.url, **OAUTH)).authenticate(bearer("a+b/c=="))
    assert user == Authenticated("a+b/c==", None, "introspection")
    (asked,) = site.asked
    assert (asked.method, asked.form()) == ("POST", {"token": "a+b/c==", "token_type_hint": "access_token"})
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")) == b"the%20broker:a%3Asecret%2F%2B"


def test_a_cookie_that_is_set_for_one_user_does_not_go_out_with_another_s_question(site: Endpoint) -> None:
    site.answer = lambda asked: Reply(200, echo(asked).body, {"Set-Cookie": "sessionid=the-first-user-s; Path=/"})
    backend = Introspection(settings(site.url, **BY_COOKIE))
    for shown in (cookie("first"), bearer("second")):
        backend.authenticate(shown)
    assert [asked.headers.get("cookie") for asked in site.asked] == ["sessionid=first", None]


def test_the_environment_s_proxies_are_not_asked(site: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert isinstance(Introspection(settings(site.url)).authenticate(bearer()), Authenticated)


# what the answer means


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (401, NO_USER),
        (403, NO_USER),
        (302, NO_USER),  # to the sign-in page
        (303, NO_USER),
        (301, BAD_STATUS),  # an address written without its last /
        (307, BAD_STATUS),
        (308, BAD_STATUS),
        (400, BAD_STATUS),
        (404, BAD_STATUS),
        (429, BAD_STATUS),
        (500, BAD_STATUS),
        (503, BAD_STATUS),
    ],
)
def test_only_an_answer_about_the_user_refuses_him(site: Endpoint, status: int, verdict: object) -> None:
    site.answer = always(status, b'{"account": "alice"}', {"Location": "/whoami/elsewhere"})
    assert Introspection(settings(site.url)).authenticate(bearer()) == verdict
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b'{"account": "alice"}', "alice"),
        (b'{"account": 42}', "42"),
        ('{"account": "e\u0301"}'.encode(), "\u00e9"),
        (b"", BAD_ANSWER),
        (b"<html>sign in</html>", BAD_ANSWER),
        (b'["alice"]', BAD_ANSWER),
        (b'"alice"', BAD_ANSWER),
        (b"null", BAD_ANSWER),
        (b'{"account": "al', BAD_ANSWER),
        (b'{"account": "\xff"}', BAD_ANSWER),
        (b"[" * 60000, BAD_ANSWER),
        (b'{"account": %s}' % (b"9" * 5000), BAD_ANSWER),
        (b"{}", NO_USER),
        (b'{"account": null}', NO_USER),
        (b'{"account": ""}', NO_USER),
        (b'{"account": false}', NO_USER),
        (b'{"account": true}', NO_ACCOUNT),
        (b'{"account": 0}', NO_ACCOUNT),
        (b'{"account": -1}', NO_ACCOUNT),
        (b'{"account": 4.2}', NO_ACCOUNT),
        (b'{"account": ["alice"]}', NO_ACCOUNT),
        (b'{"account": {"id": "alice"}}', NO_ACCOUNT),
        (b'{"account": "a\\nb"}', NO_ACCOUNT),
        (b'{"account": "\\ud800"}', NO_ACCOUNT),
        (b'{"account": "\\u202ealice"}', NO_ACCOUNT),
        (json.dumps({"account": "a" * 257}).encode(), NO_ACCOUNT),
    ],
)
def test_a_whoami_answer_names_an_account_or_no_user(body: bytes, verdict: object) -> None:
    expected = Authenticated(verdict, None, "introspection") if isinstance(verdict, str) else verdict
    assert judge(settings(), 200, body, by_cookie=False) == (expected, None)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"user": {"id": 42}}, "acme:42"),
        ({"user": {"id": ""}}, NO_USER),
        ({"user": None}, NO_USER),
        ({"user": [42]}, NO_USER),
        ({"id": 42}, NO_USER),
        ({"user": {"id": "a" * 252}}, NO_ACCOUNT),
    ],
)
def test_the_account_lies_at_a_path_and_may_have_a_prefix_and_an_app(answer: object, verdict: object) -> None:
    where = settings(account="user.id", account_prefix="acme:", app="main")
    expected = Authenticated(verdict, "main", "introspection") if isinstance(verdict, str) else verdict
    assert judge(where, 200, json.dumps(answer).encode(), by_cookie=False)[0] == expected


@pytest.mark.parametrize(
    ("status", "answer", "verdict"),
    [
        (200, {"active": True, "sub": "alice"}, "alice"),
        (200, {"active": True, "sub": "alice", "aud": "mimc"}, "alice"),
        (200, {"active": True, "sub": "alice", "exp": "soon"}, "alice"),
        (200, {"active": True}, NO_USER),
        (200, {"active": False}, NOT_ACTIVE),
        (200, {"active": False, "sub": "alice"}, NOT_ACTIVE),
        (200, {"active": "true", "sub": "alice"}, BAD_ANSWER),
        (200, {"active": 1, "sub": "alice"}, BAD_ANSWER),
        (200, {"sub": "alice"}, BAD_ANSWER),
        (401, {"active": True, "sub": "alice"}, CLIENT_REFUSED),
        (403, {}, CLIENT_REFUSED),
        (302, {}, BAD_STATUS),
        (400, {}, BAD_STATUS),
    ],
)
def test_a_token_s_answer_counts_only_if_it_says_active(status: int, answer: object, verdict: object) -> None:
    expected = Authenticated(verdict, None, "introspection") if isinstance(verdict, str) else verdict
    assert judge(settings(**OAUTH), status, json.dumps(answer).encode(), by_cookie=False)[0] == expected


@pytest.mark.parametrize(("aud", "good"), [("mimc", True), (["x", "mimc"], True), ("x", False), (None, False)])
def test_a_token_for_another_service_is_refused_where_an_audience_is_set(aud: object, good: bool) -> None:
    body = json.dumps({"active": True, "sub": "alice", "aud": aud}).encode()
    verdict, _ = judge(settings(**OAUTH, audience="mimc"), 200, body, by_cookie=False)
    assert verdict == (Authenticated("alice", None, "introspection") if good else OTHER_AUDIENCE)


# what is remembered


def test_a_user_is_believed_for_some_seconds_and_a_refusal_shorter(site: Endpoint) -> None:
    clock, users = Clock(), {"Bearer alice"}
    site.answer = lambda asked: echo(asked) if asked.headers["authorization"] in users else Reply(401)
    backend = Introspection(settings(site.url), clock)
    users_at: list[tuple[bool, bool]] = []
    for passed in (0.0, 0.9, 0.2, 3.8, 0.2):
        clock.now += passed
        verdicts = [backend.authenticate(bearer(name)) for name in ("alice", "bob")]
        users_at.append((isinstance(verdicts[0], Authenticated), isinstance(verdicts[1], Authenticated)))
        users = {"Bearer bob"}
    assert users_at == [(True, False), (True, False), (True, True), (True, True), (False, True)]
    assert len(site.asked) == 4


def test_a_header_and_a_cookie_of_one_text_are_not_the_same_proof(site: Endpoint) -> None:
    backend = Introspection(settings(site.url, **BY_COOKIE), Clock())
    first = backend.authenticate(Credentials("sessionid=abc", {}))
    second = backend.authenticate(cookie("abc"))
    assert [it.by_cookie for it in (first, second) if isinstance(it, Authenticated)] == [False, True]
    assert len(site.asked) == 2


def test_a_token_is_not_believed_beyond_its_exp(site: Endpoint) -> None:
    body = json.dumps({"active": True, "sub": "alice", "exp": int(time.time()) - 1}).encode()
    site.answer = always(200, body)
    backend = Introspection(settings(site.url, **OAUTH), Clock())
    for _ in range(2):
        assert isinstance(backend.authenticate(bearer()), Authenticated)
    assert len(site.asked) == 2


def test_no_trouble_is_remembered(site: Endpoint) -> None:
    site.answer = always(500)
    backend = Introspection(settings(site.url), Clock())
    assert backend.authenticate(bearer()) == BAD_STATUS
    site.answer = echo
    assert isinstance(backend.authenticate(bearer()), Authenticated)


def test_callers_with_the_same_credentials_ask_once(site: Endpoint) -> None:
    together = threading.Barrier(8)
    backend = Introspection(settings(site.url, timeout_s=5))

    def answer(asked: Asked) -> Reply:
        together.wait(5)
        return echo(asked)

    def call(first: bool) -> object:
        if not first:
            together.wait(5)
        return backend.authenticate(bearer())

    site.answer = answer
    # the endpoint and seven callers meet: the eighth has asked by then
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(call, [True] + [False] * 7)) == {Authenticated("Bearer opaque-1", None, "introspection")}
    assert len(site.asked) == 1


# when it is down


def test_a_port_without_a_listener_is_unavailable() -> None:
    assert Introspection(settings(NOWHERE)).authenticate(bearer()) == NO_CONNECTION


@pytest.mark.parametrize("how", [{"hangs": True}, {"body": b'{"account": "alice"}', "stalls": True}])
def test_a_url_that_hangs_is_unavailable_in_time(site: Endpoint, how: Any) -> None:
    site.answer = always(**how)
    assert Introspection(settings(site.url, timeout_s=0.2)).authenticate(bearer()) == TIMED_OUT


def test_after_some_time_outs_only_one_question_a_second_goes_out(site: Endpoint) -> None:
    clock = Clock()
    site.answer = always(hangs=True)
    backend = Introspection(settings(site.url, timeout_s=0.5), clock)  # long enough for the answers at the end
    verdicts = [backend.authenticate(bearer(f"token-{number}")) for number in range(5)]
    assert verdicts == [TIMED_OUT] * 3 + [RESTING] * 2
    clock.now += 1.0
    assert [backend.authenticate(bearer()) for _ in range(2)] == [TIMED_OUT, RESTING]
    clock.now += 1.0
    site.answer = echo
    for name in ("a", "b"):
        assert isinstance(backend.authenticate(bearer(name)), Authenticated)


def test_a_kept_connection_is_used_again_and_its_end_costs_no_caller_their_answer(site: Endpoint) -> None:
    backend = Introspection(settings(site.url))
    for name in ("a", "b", "c"):
        assert isinstance(backend.authenticate(bearer(name)), Authenticated)
    assert len({asked.connection for asked in site.asked}) == 1
    site.answer = lambda asked: Reply(200, echo(asked).body, closes=True)
    for name in ("d", "e", "f"):
        assert isinstance(backend.authenticate(bearer(name)), Authenticated)
    assert len({asked.connection for asked in site.asked}) == 3


def test_an_endless_answer_is_not_read_to_its_end(site: Endpoint) -> None:
    site.answer = always(200, json.dumps({"account": "alice", "more": "x" * 200_000}).encode())
    assert Introspection(settings(site.url)).authenticate(bearer()) == TOO_LONG


def test_an_unknown_authority_is_shown_nothing(tmp_path: Any) -> None:
    certificates = ensure_certificates(tmp_path)
    with endpoint(echo, certificates.server_context()) as site:
        assert Introspection(settings(site.url)).authenticate(bearer()) == NO_CONNECTION
        assert not site.asked
        trusting = Introspection(settings(site.url, ca_file=certificates.ca_file, timeout_s=5))
        assert isinstance(trusting.authenticate(bearer()), Authenticated)


# settings


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"url": "http://app.example.com/whoami"}, "url: must be https: .* set allow_plain = true"),
        ({"url": "app.example.com/whoami"}, "expected an address like"),
        ({"url": "ftp://app.example.com/"}, "expected an address like"),
        ({"url": "https://"}, "expected an address like"),
        ({"url": "https://app.example.com:canary/"}, "expected an address like"),
        ({"url": "https://app.example.com/a b"}, "expected an address like"),
        ({"url": "https://user:canary@app.example.com/"}, "must hold no name and password"),
        ({"pass_authorization": False}, "cookies: name one"),
        ({"cookies": ["session id"]}, "cookies"),
        ({"account": "user..id"}, "account"),
        ({"client_id": "x", "client_secret": "canary"}, "client_secret: has no meaning in style whoami"),
        ({"style": "rfc7662"}, "client_id: required in style rfc7662\nclient_secret: required"),
        ({**OAUTH, "cookies": ["sessionid"]}, "cookies: has no meaning in style rfc7662"),
        ({**OAUTH, "method": "GET"}, "method: has no meaning in style rfc7662"),
    ],
)
def test_settings_that_would_not_work_or_not_be_safe_are_refused(keys: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault) as caught:
        IntrospectionSettings.model_validate({"url": "https://app.example.com/whoami", **keys})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"url": "https://app.example.com/whoami/?format=json"},
        {"url": "http://localhost:8000/whoami"},
        {"url": "http://[::1]:8000/whoami"},
        {"url": "http://django:8000/whoami/", "allow_plain": True},
    ],
)
def test_an_address_is_kept_as_it_is_written(keys: dict[str, Any]) -> None:
    assert IntrospectionSettings.model_validate(keys).url == keys["url"]


def test_an_app_to_which_users_are_bound_must_exist() -> None:
    app = {"app_id": 2882303761517000001, "app_key": "k", "app_secret": "s", "url_secret": "u" * 16}
    auth = {"introspection": {"url": NOWHERE, "app": "other"}}
    with pytest.raises(ValidationError, match=r"auth\.introspection\.app: names no section"):
        Settings.model_validate({"auth": auth, "apps": {"main": app}})


def test_the_section_alone_switches_it_on_and_its_secret_is_masked(site: Endpoint) -> None:
    auth = AuthSettings.model_validate({"introspection": {"url": site.url, **OAUTH}})
    assert auth.asked == ("introspection",)
    assert OAUTH["client_secret"] not in f"{auth!r} {auth.model_dump()}"
    site.answer = always(200, b'{"active": false}')
    refused = build_authenticator(auth).authenticate(bearer())
    assert isinstance(refused, Refused)
    assert refused.each == (("introspection", NOT_ACTIVE.reason),)


def test_no_reason_holds_a_word_of_the_credentials_or_the_answer(site: Endpoint) -> None:
    site.answer = always(500, b"canary")
    verdict = Introspection(settings(site.url)).authenticate(bearer("canary"))
    assert isinstance(verdict, Unavailable)
    assert "canary" not in repr(verdict)

"""Calls of MIMC's API over real sockets: with whose token they travel, and how often at most."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from proxy.domain.service_state import BreakerRules
from proxy.domain.transfers import FailureKind, Paused, Prevented, Response, TransportFailure
from proxy.mimc.api import MimcApi
from proxy.mimc.api_request import Acting, Asked, Prepared, prepare, read_members
from proxy.mimc.calls import CALLS
from proxy.mimc.connection import Limits
from proxy.mimc.passable import Passable
from proxy.mimc.user_tokens import LIFE_S, UserTokens
from proxy.settings import AppSettings
from proxy.usecases.guarded_mimc import MimcGuard
from tests.mimc.upstream import Conversation, Serve, Upstream, answering, http, upstream

ROWS = {call.name: call for call in CALLS}
GOOD = http(b'{"code":200,"message":"success","data":[]}')
NO = http(b'{"code":500,"message":"quit topic fail","data":null}')
LIMITS = Limits(0.6, 0.3)
ALICE = Acting("alice")


def app_settings(url: str) -> AppSettings:
    return AppSettings.model_validate(
        {
            "app_id": "2882303761517000001",
            "app_key": "the-own-key",
            "app_secret": "the-own-secret",
            "url_secret": "a-url-secret-of-32-characters-00",
            "base_url": url,
        }
    )


@dataclass
class Tokens:
    """Implements ports.TokenService: a new one at each call, unless `answer` is set."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    answer: Response | TransportFailure | Paused | None = None

    def issue(self, app: str, account: str) -> Response | TransportFailure | Paused:
        self.asked.append((app, account))
        body = {"code": 200, "message": "success", "data": {"token": f"token-{len(self.asked)}-of-{account}"}}
        return self.answer or Response(200, {}, json.dumps(body).encode())


class World:
    def __init__(self, service: Upstream) -> None:
        self.service, self.app, self.tokens, self.now = service, app_settings(service.url), Tokens(), 0.0
        apps = {"main": self.app}
        self.paused = list[str]()
        guard = MimcGuard(BreakerRules(2, 60.0, 60.0, 60.0), self.paused.append)
        users = UserTokens(self.tokens, lambda: self.now)
        self.api = MimcApi(apps, LIMITS, Passable(apps, "refuse"), users, guard)

    def call(
        self, name: str, members: Mapping[str, object] | None = None, acting: Acting = ALICE
    ) -> Response | TransportFailure | Paused:
        return self.api.call("main", self.prepared(name, members, acting))

    def prepared(self, name: str, members: Mapping[str, object] | None, acting: Acting) -> Prepared:
        body = b"" if members is None else json.dumps(members).encode()
        return prepare(ROWS[name], Asked("7", body=body, members=read_members(body)), acting, self.app)

    @property
    def tokens_shown(self) -> list[str]:
        lines = [line for request in self.service.requests for line in request.decode().split("\r\n")]
        return [line.removeprefix("token: ") for line in lines if line.startswith("token: ")]


@contextmanager
def world(serve: Serve) -> Iterator[World]:
    with upstream(serve) as service:
        yield World(service)


def answers(*each: bytes) -> Serve:
    """One after the other, over all connections; the last again and again."""
    left = list(each)

    def serve(conversation: Conversation) -> None:
        while conversation.receive():
            conversation.send(left.pop(0) if len(left) > 1 else left[0])

    return serve


def test_a_users_token_is_asked_for_once_and_used_for_ten_minutes() -> None:
    with world(answering(GOOD)) as it:
        for now in (0.0, LIFE_S - 1, LIFE_S, LIFE_S + 1):
            it.now = now
            assert isinstance(it.call("topic list"), Response)
        it.call("topic list", acting=Acting("bob"))
    assert it.tokens_shown == ["token-1-of-alice"] * 2 + ["token-2-of-alice"] * 2 + ["token-3-of-bob"]


def test_a_service_and_a_push_need_no_token() -> None:
    with world(answering(GOOD)) as it:
        it.call("topic list", acting=Acting("system", is_service=True))
        it.call("push p2p", {"toAccount": "bob", "msg": "hi"})
    assert not it.tokens.asked
    assert not it.tokens_shown


def test_the_answer_comes_back_as_it_is() -> None:
    raw = b'{"code":200,  "message":"success\xef\xbc\x81","data":{"topicId":21351198708203520}}\r\n'
    with world(answering(http(raw, headers=b"Content-Type: application/json;charset=UTF-8\r\n"))) as it:
        answer = it.call("topic destroy")
    assert isinstance(answer, Response)
    assert (answer.status, answer.body) == (200, raw)
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"


def test_where_there_is_no_token_its_answer_is_the_answer() -> None:
    refused = b'{"code":401,"message":"app authentication fail","data":null}'
    with world(answering(GOOD)) as it:
        for said, answer in ((Response(200, {}, refused), Prevented(200, {}, refused)), (Paused(3), Paused(3))):
            it.tokens.answer = said
            assert it.call("topic list") == answer
        assert not it.service.requests


@pytest.mark.parametrize("kind", [FailureKind.TIMED_OUT, FailureKind.BROKEN, FailureKind.WITHHELD])
def test_a_change_that_waited_for_a_token_in_vain_has_not_left(kind: FailureKind) -> None:
    """Its client may repeat it at once; a key of it is free again."""
    with world(answering(GOOD)) as it:
        it.tokens.answer = TransportFailure("no answer in time", kind)
        answer = it.call("topic leave")
        assert isinstance(answer, TransportFailure)
        assert (answer.reason, answer.sent) == ("no answer in time", False)
        it.tokens.answer = Response(200, {}, b'{"code":500,"message":"busy"}')
        assert isinstance(it.call("topic leave"), Prevented)
        assert not it.service.requests


NO_WORD = http(b'{"code":401,"message":"token expired","data":null}')
NO_STATUS = http(b"", b"401 Unauthorized")


@pytest.mark.parametrize("refusal", [NO_WORD, NO_STATUS, NO], ids=["code", "status", "another"])
def test_a_read_that_is_refused_with_a_kept_token_is_made_once_more_with_a_new_one(refusal: bytes) -> None:
    with world(answers(GOOD, refusal, GOOD)) as it:
        it.call("topic list")
        answer = it.call("topic list")
    assert isinstance(answer, Response)
    assert answer.body == GOOD.rpartition(b"\r\n")[2]
    assert it.tokens_shown == ["token-1-of-alice"] * 2 + ["token-2-of-alice"]


def test_a_read_that_is_refused_with_a_new_token_is_refused() -> None:
    with world(answers(NO)) as it:
        it.call("topic list")
        assert len(it.service.requests) == 1
        it.call("topic list")  # and the token is not kept
    assert it.tokens_shown == ["token-1-of-alice", "token-2-of-alice"]


@pytest.mark.parametrize(("refusal", "times"), [(NO_WORD, 1), (NO, 1), (NO_STATUS, 2)], ids=["code", "no", "status"])
def test_a_change_is_made_again_only_where_mimc_has_not_looked_at_it(refusal: bytes, times: int) -> None:
    with world(answers(GOOD, refusal, GOOD)) as it:
        it.call("topic list")
        it.call("topic leave")
    assert len(it.service.requests) == 1 + times


def dying(at: Callable[[int], bool]) -> Serve:
    """Ends the connection without a word after reading the requests that `at` says, counted over all connections."""
    count = [0]

    def serve(conversation: Conversation) -> None:
        while conversation.receive():
            count[0] += 1
            if at(count[0]):
                return
            conversation.send(GOOD)

    return serve


CHANGES = [("push p2p", {"toAccount": "bob", "msg": "hi"}), ("topic leave", None), ("uctopic create", {}),
           ("uctopic create", None), ("topic update", {"bulletin": "x"})]  # fmt: skip


@pytest.mark.parametrize(("name", "members"), CHANGES, ids=str)
def test_a_change_that_may_have_left_is_never_repeated(name: str, members: Mapping[str, object] | None) -> None:
    with world(dying(lambda number: number == 2)) as it:
        it.call("topic list")  # leaves a kept connection, on which libcurl would repeat
        answer = it.call(name, members)
    assert isinstance(answer, TransportFailure)
    assert answer.sent
    assert len(it.service.requests) == 2


def test_a_read_may_be_repeated() -> None:
    with world(dying(lambda number: number == 2)) as it:
        it.call("topic list")
        assert isinstance(it.call("topic list"), Response)
    assert len(it.service.requests) == 3


def test_one_handle_sends_one_kind_of_request_after_another() -> None:
    with world(answering(GOOD)) as it:
        for name, members in (("topic list", None), ("topic update", {"bulletin": "x"}), ("topic leave", None),
                              ("topic query", None), ("push p2p", {"msg": "hi"}), ("topic list", None)):  # fmt: skip
            it.call(name, members)
    lines = [request.split(b"\r\n")[0].split()[0] for request in it.service.requests]
    assert lines == [b"GET", b"PUT", b"DELETE", b"GET", b"POST", b"GET"]
    bodies = [request.partition(b"\r\n\r\n")[2] for request in it.service.requests]
    assert [bool(body) for body in bodies] == [False, True, False, False, True, False]


def test_a_silent_mimc_pauses_these_calls_too_and_refusals_do_not() -> None:
    with world(answers(http(b"", b"502 Bad Gateway"))) as it:
        for account in ("alice", "bob"):
            it.call("topic list", acting=Acting(account))
        assert isinstance(it.call("topic list", acting=Acting("carol")), Paused)
    assert it.paused == ["main"]
    with world(answers(http(b'{"code":500,"message":"quit topic fail"}', b"500 Oops"))) as it:
        for account in ("alice", "bob", "carol"):
            assert isinstance(it.call("topic leave", acting=Acting(account)), Response)


def test_an_answer_that_repeats_our_secret_is_withheld() -> None:
    with world(answering(http(b'{"code":400,"got":"the-own-secret"}', b"400 Bad"))) as it:
        answer = it.call("push p2p", {"msg": "hi"})
    assert answer == TransportFailure("answer repeats our credentials", FailureKind.WITHHELD)


@pytest.mark.parametrize("acting", [ALICE, Acting("system", is_service=True)], ids=["user", "service"])
def test_what_a_user_wrote_is_passed_on_whatever_it_is(acting: Acting) -> None:
    """Who knows the appKey could close a group to all others by writing it there."""
    raw = b'{"code":200,"message":"success","data":{"messages":[{"payload":"the-own-key dGhlLW93bi1zZWNyZXQ="}]}}'
    with world(answers(http(raw), http(raw), http(raw, b"400 Bad"), http(b"<p>the-own-key"))) as it:
        for name in ("history p2t query", "topic query"):
            answer = it.call(name, {}, acting)
            assert isinstance(answer, Response)
            assert answer.body == raw
        for _ in range(2):  # neither is a success of MIMC's
            assert isinstance(it.call("history p2t query", {}, acting), TransportFailure)


def test_a_success_whose_headers_repeat_our_secret_is_withheld() -> None:
    with world(answering(http(b'{"code":200}', headers=b"X-Asked: the-own-secret\r\n"))) as it:
        assert isinstance(it.call("topic query"), TransportFailure)

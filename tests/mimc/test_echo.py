"""An answer that repeats our key or secret, in all the ways in which gateways write what they were sent."""

import base64
import html
import json
import random
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.transfers import Response
from proxy.mimc.echo import Echo, EchoGuard
from proxy.mimc.token_answer import reason_of

KEY, SECRET = "5371010101010", "b64-demo+secret/0123456789AB=="
GUARD = EchoGuard([KEY, SECRET])

# The answer of success as the operation manual prints it, "$appSecret" and all.
MANUAL = b"""{
    "code": 200,
    "message": "success",
    "data": {
        "appId": $appId,
        "appPackage": $appPackage,
        "appAccount": $appAccount,
        "miChid": $chid,
        "miUserId": $uuid,
        "miUserSecurityKey": $appSecret,
        "token": $token
    }
}
"""


def as_json(text: str) -> str:
    return json.dumps(text)[1:-1]


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": as_json,
    "JSON with escaped slashes": lambda it: as_json(it).replace("/", "\\/"),
    "JSON as Gson writes it": lambda it: as_json(it).replace("=", "\\u003d").replace("+", "\\u002B"),
    "JSON, all escaped": lambda it: "".join(f"\\u{ord(unit):04X}" for unit in it),
    "percent": lambda it: quote(it, safe=""),
    "percent in small letters": lambda it: "".join(f"%{byte:02x}" for byte in it.encode()),
    "HTML": html.escape,
    "HTML by number": lambda it: "".join(f"&#{ord(unit)};" for unit in it),
    "HTML by hexadecimal number": lambda it: "".join(f"&#x{ord(unit):X};" for unit in it),
    "HTML by name": lambda it: it.replace("=", "&equals;").replace("+", "&plus;").replace("/", "&sol;"),
}
ALPHABETS = (base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes)


@pytest.mark.parametrize("spelling", list(SPELLINGS))
@pytest.mark.parametrize("secret", [KEY, SECRET])
def test_a_repeated_secret_is_found_in_each_spelling(spelling: str, secret: str) -> None:
    spelled = SPELLINGS[spelling](secret)
    assert GUARD.find([b"HTTP/1.1 400 Bad Request\r\n"], f'{{"request":"{spelled}"}}'.encode()) is Echo.ANSWER
    assert GUARD.find([f"X-Request: {spelled}\r\n".encode()], b"{}") is Echo.ANSWER


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40),
    before=st.text(st.sampled_from("ab {:,é\n"), max_size=5),
    after=st.text(st.sampled_from("ab }:,é\n"), max_size=5),
    spelling=st.sampled_from(list(SPELLINGS.values())),
    escapes=st.booleans(),
)
def test_any_secret_is_found_in_any_spelling_also_within_a_string_of_json(
    secret: str, before: str, after: str, spelling: Callable[[str], str], escapes: bool
) -> None:
    spelled = before + spelling(secret) + after
    body = json.dumps({"x": [spelled]}, ensure_ascii=escapes) if "\\" not in spelling(secret) else spelled
    assert EchoGuard([secret]).find([], body.encode()) is Echo.ANSWER


@given(
    secret=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=8, max_size=40),
    before=st.binary(max_size=7),
    after=st.binary(max_size=7),
    encode=st.sampled_from(ALPHABETS),
)
def test_any_secret_is_found_in_base64_whatever_surrounds_it(
    secret: str, before: bytes, after: bytes, encode: Callable[[bytes], bytes]
) -> None:
    body = b'{"echo":"%b"}' % encode(before + secret.encode() + after).rstrip(b"=\n")
    assert EchoGuard([secret]).find([], body) is Echo.ANSWER


LONG = 256 * 1024  # as long as an answer may be
HOSTILE = {
    "an endless number in HTML": b"&#" + b"1" * LONG,
    "and a hexadecimal one": b"&#x" + b"f" * LONG,
    "a name without end": b"&" + b"a" * LONG,
    "an endless code": b'{"code":' + b"1" * LONG + b',"data":{"token":"x"}}',
    "an object in an object, without end": b'{"data":' * (LONG // 8),
    "an array in an array, without end": b"[" * LONG,
    "thousands of strings": json.dumps([f"text {number}" for number in range(LONG // 16)]).encode(),
    "escapes of halves of characters": b"\\ud800" * (LONG // 6),
    "backslashes alone": b"\\" * LONG,
    "percent signs alone": b"%" * LONG,
    "a secret that never ends": SECRET[:-1].encode() * (LONG // len(SECRET)),
    "no text at all": bytes(range(256)) * (LONG // 256),
}


@pytest.mark.parametrize("kind", list(HOSTILE))
@pytest.mark.parametrize("place", ["none", "before", "after"])
def test_any_long_answer_is_read_to_its_end(kind: str, place: str) -> None:
    secret = f' "{SECRET}" '.encode()
    body = (secret if place == "before" else b"") + HOSTILE[kind] + (secret if place == "after" else b"")
    assert GUARD.find([], body) is (None if place == "none" else Echo.ANSWER)


@given(
    st.lists(
        st.sampled_from([b"&#", b"1" * 5000, b"%", b"\\u", b"d83d", b'"', b"{", b":", b",", b"\0", b"=", b";", b"\xff"])
    ),
    st.booleans(),
)
def test_whatever_comes_before_a_secret_does_not_hide_it_and_nothing_breaks_the_guard(
    pieces: list[bytes], is_there: bool
) -> None:
    found = GUARD.find([], b"".join([*pieces, b" ", SECRET.encode() if is_there else b""]))
    assert found is (Echo.ANSWER if is_there else None)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_repeated_secret_is_found_in_each_encoding_of_unicode(encoding: str) -> None:
    assert GUARD.find([], f"<p>{SECRET}</p>".encode(encoding)) is Echo.ANSWER


def test_values_under_8_characters_are_not_searched_for() -> None:
    assert EchoGuard(["1234567", "s"]).find([], b"1234567 s") is None
    assert EchoGuard(["12345678"]).find([], b"12345678") is Echo.ANSWER


def test_the_manual_s_example_passes_as_it_is_printed_and_with_our_values_in_it() -> None:
    assert GUARD.find([], MANUAL) is None
    values = {
        b"$appId": b'"2882303761517000001"',
        b"$appPackage": b'"com.example.chat"',
        b"$appAccount": b'"1000"',
        b"$chid": b"9",
        b"$uuid": b'"15788717000364153"',
        b"$appSecret": json.dumps(SECRET).encode(),
        b"$token": b'"5YmN"',
    }
    filled = MANUAL
    for name, value in values.items():
        filled = filled.replace(name, value)
    assert reason_of(Response(200, {}, filled)) is None
    assert GUARD.find([], filled) is Echo.SECURITY_KEY


@pytest.mark.parametrize(
    "body",
    [
        '{"code":200,"data":{"miUserSecurityKey":"%s"}}',  # no token
        '{"code":200,"data":{"miUserSecurityKey":"%s","token":""}}',
        '{"code":400,"data":{"miUserSecurityKey":"%s","token":"x"}}',
        '{"code":"200","data":{"miUserSecurityKey":"%s","token":"x"}}',
        '{"code":true,"data":{"miUserSecurityKey":"%s","token":"x"}}',
        '{"code":200,"data":{"miUserSecurityKey":"k","token":"%s"}}',
        '{"code":200,"miUserSecurityKey":"%s","data":{"token":"x"}}',
        '{"code":200,"message":"%s","data":{"miUserSecurityKey":"%s","token":"x"}}',
        '{"code":200,"data":{"x":"%s"},"data":{"token":"x"}}',  # of two members the last counts
        '{"code":200,"data":{"token":"%s","token":"x"}}',
        '{"code":200,"data":{"miUserSecurityKey":"%s","token":"x"}',  # is no JSON
        '[{"code":200,"data":{"miUserSecurityKey":"%s","token":"x"}}]',
    ],
)
def test_no_other_place_is_let_through(body: str) -> None:
    assert GUARD.find([], body.replace("%s", SECRET).encode()) is Echo.ANSWER


def test_10_000_random_genuine_answers_raise_no_alarm() -> None:
    dice = random.Random(8)

    def in_base64(size: int) -> str:
        return base64.b64encode(dice.randbytes(size)).decode()

    def answer() -> bytes:
        told = {
            "code": 200,
            "message": "success",
            "data": {
                "appId": "2882303761517000001",
                "appPackage": "com.example.chat",
                "appAccount": dice.choice(["1000", "张三", "100%25 & more"]),
                "miChid": 9,
                "miUserId": str(dice.randrange(10**17)),
                "miUserSecurityKey": in_base64(16),
                "token": in_base64(dice.randrange(300, 360)),
                "regionBucket": dice.randrange(1000),
                "feDomainName": "app.chat.xiaomi.net",
                "relayDomainName": "relay.mimc.chat.xiaomi.net",
            },
        }
        text = json.dumps(told, separators=(",", ":"), ensure_ascii=dice.random() < 0.5)
        return (text.replace("/", "\\/").replace("=", "\\u003d") if dice.random() < 0.5 else text).encode()

    guards = [GUARD, EchoGuard([str(dice.randrange(10**12, 10**13)), in_base64(16)])]
    head = [b"HTTP/1.1 200 OK\r\n", b"Content-Type: application/json\r\n"]
    assert {guard.find(head, answer()) for guard in guards for _ in range(5000)} == {None}

"""Keys as clients write them, and what they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.idempotency import MOST_KEPT_BYTES, answer_to_keep, call_of, read_key
from proxy.domain.transfers import Response

UUID = "8e03978e-40d5-43dd-bc93-6894a57f9324"


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (f'"{UUID}"', UUID), (UUID, UUID), (f' "{UUID}" ', UUID), ("a" * 255, "a" * 255), ('"a b"', "a b"),
        ('"a\\"b\\\\"', 'a"b\\'), ("aGVsbG8+/w==", "aGVsbG8+/w=="), ("user:7/3", "user:7/3"),
    ],
)  # fmt: skip
def test_a_key_is_a_structured_field_string_or_the_same_without_quotes(header: str, key: str) -> None:
    assert read_key(header) == key


@pytest.mark.parametrize(
    "header",
    ["", '""', "a" * 256, f'"{"a" * 256}"', "a b", '"a', 'a"', '"a\\n"', '"a", "b"', "a,b", '"a";b=1', "a;b=1", "é",
     '"\x7f"', "a\tb", "a\\b", '"a" "b"'],
)  # fmt: skip
def test_what_is_no_key_or_more_than_one_is_refused(header: str) -> None:
    assert read_key(header) is None


@given(st.text())
def test_any_header_is_a_key_or_none(header: str) -> None:
    key = read_key(header)
    assert key is None or 1 <= len(key) <= 255


def name_of(*of: str, content: bytes = b"x") -> str:
    key, caller, method, path, section = of
    return call_of(key, caller, method, path, section, content).name


def test_a_key_belongs_to_caller_method_path_and_section() -> None:
    one = ["k1", "user ann", "POST", "/api/topic/77", "main"]
    others = ["k2", "user ben", "PUT", "/api/topic/78", "other"]
    all_of_them = [one, *([*one[:at], other, *one[at + 1 :]] for at, other in enumerate(others))]
    assert len({name_of(*it) for it in all_of_them}) == 6
    assert name_of(*one) == name_of(*one, content=b"y")
    assert call_of("k1", "", "", "", "", b"x").content != call_of("k1", "", "", "", "", b"y").content


def test_what_was_asked_cannot_be_guessed_without_the_key() -> None:
    """Neither of two records of one content tells it, nor that they are the same."""
    a, b = (call_of(key, "user ann", "POST", "/", "main", b"yes").content for key in ("k1", "k2"))
    assert a != b


def test_an_answer_is_kept_with_what_its_reader_needs_unless_it_is_long() -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip", "set-cookie": "canary"}
    kept = answer_to_keep(Response(200, headers, b"x"))
    assert (kept.status, dict(kept.headers)) == (200, {k: headers[k] for k in ("content-type", "content-encoding")})
    assert answer_to_keep(Response(200, {}, b"x" * MOST_KEPT_BYTES)).body is not None
    assert answer_to_keep(Response(200, {}, b"x" * (MOST_KEPT_BYTES + 1))).body is None

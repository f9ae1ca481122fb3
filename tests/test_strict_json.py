import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.strict_json import BadJson, at, object_or_none, read_object


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "a JSON object in UTF-8"),
        (b"{", "a JSON object in UTF-8"),
        (b"\xff{}", "a JSON object in UTF-8"),
        ("{}".encode("utf-16"), "a JSON object in UTF-8"),
        (b"\xef\xbb\xbf{}", "a JSON object in UTF-8"),  # a byte order mark
        (b'{"a": NaN}', "a JSON object in UTF-8"),
        (b'{"a": -Infinity}', "a JSON object in UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a JSON object in UTF-8"),
        (b'{"a":' * 100_000, "a JSON object in UTF-8"),
        (b"[]", "a JSON object"),
        (b'"canary"', "a JSON object"),
        (b"null", "a JSON object"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "at most 64 levels"),
        (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "at most 64 levels"),
    ],
)
def test_what_is_no_strict_json_object_is_told_in_words_without_its_content(body: bytes, expected: str) -> None:
    with pytest.raises(BadJson) as caught:
        read_object(body)
    assert caught.value.expected == expected
    assert "canary" not in repr(caught.value)
    assert object_or_none(body) is None


@pytest.mark.parametrize(
    "body",
    [b'{"a":' * 64 + b"1" + b"}" * 64, b'{"a": [' + b"{}," * 500 + b"{}]}", b'{"a": "' + b"[" * 100 + b'"}', b" {}\n"],
)
def test_wide_objects_and_brackets_in_texts_are_not_deep(body: bytes) -> None:
    assert read_object(body) == object_or_none(body) == json.loads(body)


def test_a_member_named_twice_is_refused_where_each_must_be_unique() -> None:
    assert read_object(b'{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(BadJson, match="each member once"):
        read_object(b'{"b": {"a": 1, "a": 2}}', unique=True)


def test_numbers_may_be_read_in_another_way() -> None:
    assert read_object(b'{"a": 103, "b": 1.50}', parse_int=str, parse_float=str) == {"a": "103", "b": "1.50"}


@pytest.mark.parametrize(
    ("path", "found"),
    [((), {"a": {"b": 1}}), (("a",), {"b": 1}), (("a", "b"), 1), (("a", "b", "c"), None), ("x", None)],
)
def test_a_path_of_names_leads_to_a_value_or_none(path: tuple[str, ...], found: object) -> None:
    assert at({"a": {"b": 1}}, path) == found


@given(
    st.binary()
    | st.dictionaries(st.text(), st.none() | st.integers() | st.text()).map(lambda it: json.dumps(it).encode())
)
def test_any_bytes_are_an_object_or_bad_json(body: bytes) -> None:
    try:
        assert isinstance(read_object(body, unique=True), dict)
    except BadJson as error:
        assert error.expected  # noqa: PT017

"""A body without `authentication` is otherwise the same, byte for byte."""

import json
from codecs import BOM_UTF8

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.mimc.bare_body import without_authentication

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(("body", "bare"), [
    ('{"a":1,"authentication":"x","b":2}', '{"a":1,"b":2}'),
    ('{"authentication":"x","b":2}', '{"b":2}'),
    ('{"a":1,"authentication":"x"}', '{"a":1}'),
    ('{"authentication":"x"}', "{}"),
    (' {\n  "authentication" : "x" ,\n  "b" : 2\n} \n', ' {\n  "b" : 2\n} \n'),
    (' { "a" : 1 , "authentication" : { "deep": ["authentication", "]}" ] } , "b":2 } ', ' { "a" : 1 , "b":2 } '),
    ('{"a":1,"\\u0061uthentication":"x"}', '{"a":1}'),  # the same name
    ('{"authentication":"x","a":1,"authentication":"y","b":2,"authentication":null}', '{"a":1,"b":2}'),
    ('{"sequence":12345678901234567890123,"f":1.10,"t":"\\u00e9é\\/","authentication":"x"}',
     '{"sequence":12345678901234567890123,"f":1.10,"t":"\\u00e9é\\/"}'),
    ('{"a":{"authentication":"not this one"},"t":"\\"authentication\\":1"}', None),
    ('{"a":"\\\\"}', None),
    ("{ }", None),
])  # fmt: skip
def test_one_member_goes_and_no_other_byte(body: str, bare: str | None) -> None:
    assert without_authentication(body.encode()) == (body if bare is None else bare).encode()
    assert without_authentication(BOM_UTF8 + body.encode()) == BOM_UTF8 + (body if bare is None else bare).encode()


@given(st.lists(st.tuples(st.sampled_from(["authentication", "a", "b"]) | st.text(), JSON), max_size=6), st.data())
def test_of_any_object_all_other_members_stay_as_they_are_written(
    pairs: list[tuple[str, object]], data: st.DataObject
) -> None:
    written = [
        json.dumps(name, ensure_ascii=data.draw(st.booleans())) + data.draw(st.sampled_from([":", " : "]))
        + json.dumps(value, ensure_ascii=data.draw(st.booleans()))
        for name, value in pairs
    ]  # fmt: skip
    body = ("{" + ",".join(written) + "}").encode("utf-8", "replace")
    bare = without_authentication(body)
    kept = [text for (name, _), text in zip(pairs, written, strict=True) if name != "authentication"]
    assert bare == ("{" + ",".join(kept) + "}").encode("utf-8", "replace")

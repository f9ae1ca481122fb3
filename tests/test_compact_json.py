import json

import pytest

from proxy.compact_json import compact_json

WITHOUT_SPACES = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(
    "value", [{}, [], "", None, {"a": [1, 2.5, True, None, {"b": 'ü\u2028"\\\n'}], "1": 1e300}, "\ud800", [[["x"]]]]
)
def test_it_is_what_the_librarys_encoder_makes(value: object) -> None:
    assert compact_json(value) == WITHOUT_SPACES.encode(value)


def test_what_json_cannot_say_is_an_error() -> None:
    with pytest.raises(TypeError):
        compact_json({"a": b"bytes"})

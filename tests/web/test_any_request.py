"""Whatever is sent, the answer is an envelope, and never a bug of ours."""

import json
from urllib.parse import quote_from_bytes

from hypothesis import given
from hypothesis import strategies as st

from tests.web.world import APP_ID, ORIGIN, URL_SECRET, World, bearer

WORLD = World()
PATHS = [
    f"/callbacks/mimc/{URL_SECRET}",
    "/api/account/token",
    "/api/devices/phone",
    "/api/devices",
    "/api/preferences",
    "/api/alerts",
    "/readyz",
]
MEMBERS = ["msgType", "appId", "toAppId", "fromAccount", "toAccounts", "timestamp", "appAccount", "platform", "app"]
MEMBERS += ["mutes", "quiet_hours", "preview"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([APP_ID, "OFFLINE_MSG", "apns"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.binary(max_size=200) | st.dictionaries(st.sampled_from(MEMBERS), VALUES).map(
    lambda members: json.dumps(members).encode()
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])


@given(path=st.sampled_from(PATHS), method=METHODS, body=BODIES)
def test_any_body_is_answered_in_the_envelope(path: str, method: str, body: bytes) -> None:
    answer = WORLD.client.open(path, method=method, data=body, headers=bearer() | {"Origin": ORIGIN})
    assert answer.status_code < 500
    if answer.data and answer.status_code != 204:
        assert json.loads(answer.data)["code"] == answer.status_code


@given(path=st.binary(max_size=60).map(quote_from_bytes), query=st.text(max_size=20), method=METHODS)
def test_any_path_is_answered_in_the_envelope(path: str, query: str, method: str) -> None:
    for start in ("/", "/api/", "/api/devices/", "/callbacks/mimc/"):
        answer = WORLD.client.open(start + path, query_string={"app": query}, method=method, headers=bearer())
        assert answer.status_code < 500
        assert answer.status_code == 204 or json.loads(answer.data)["code"] == answer.status_code


@given(
    st.dictionaries(
        st.sampled_from(["Authorization", "Origin", "Cookie", "X-Request-Id", "Content-Type", "Content-Encoding"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60),
    )
)
def test_any_header_is_answered_in_the_envelope(headers: dict[str, str]) -> None:
    answer = WORLD.client.post("/api/account/token", headers=headers)
    assert json.loads(answer.data)["code"] == answer.status_code == 401

"""What a page of another origin may do."""

import pytest

from tests.web.world import ORIGIN, World, bearer

PATH = "/api/account/token"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


def test_a_preflight_needs_no_proof_and_names_authorization() -> None:
    answer = World().client.options(PATH, headers={"Origin": ORIGIN} | ASKED)
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    assert "Authorization, Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_preflight_names_the_methods_of_its_route() -> None:
    answer = World().client.options("/api/devices/phone", headers={"Origin": ORIGIN} | ASKED)
    assert answer.headers["Access-Control-Allow-Methods"] == "DELETE, GET, HEAD, PUT"


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "https://chat.example.com.evil.com", ""])
def test_a_foreign_page_is_told_nothing(origin: str) -> None:
    client = World().client
    for answer in (
        client.options(PATH, headers={"Origin": origin} | ASKED),
        client.post(PATH, headers={"Origin": origin} | bearer()),
        client.post(PATH, headers={"Origin": origin}),
    ):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    ("path", "status"), [("/api/nowhere", 404), ("//api/account/token", 404), ("/api/account/token/", 404), (PATH, 401)]
)
def test_errors_may_be_read_by_the_allowed_page(path: str, status: int) -> None:
    answer = World().client.post(path, headers={"Origin": ORIGIN})
    assert answer.status_code == status
    if path.startswith("/api/"):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Cache-Control"] == "no-store"


def test_other_routes_have_no_cors() -> None:
    client = World().client
    assert "Access-Control-Allow-Origin" not in client.get("/healthz", headers={"Origin": ORIGIN}).headers
    answer = client.options("/callbacks/mimc/whatever", headers={"Origin": ORIGIN} | ASKED)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert client.options("/api/nowhere", headers={"Origin": ORIGIN} | ASKED).status_code == 404

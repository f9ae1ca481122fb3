"""The token call through gunicorn: what the TokenService says is what the client reads, to the last byte."""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.system.rig import APP_SECRET, MAIN, OTHER, Rig

GOLDEN = (Path(__file__).parents[1] / "data" / "token_answer.json").read_bytes()
REFUSAL = b'{ "code":500,"message":"fail\\/again" ,"data":null,"retry":[ 1.0 ] }'
KIND = "application/json; charset=UTF-8"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with (
        tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder,
        Rig(Path(folder) / "r", without=("mipush",)) as it,
    ):
        it.secret("the answers' token", "REAL+TOKEN")
        it.start_web()
        yield it


@pytest.fixture(autouse=True)
def _no_faults_left(rig: Rig) -> Iterator[None]:
    yield
    rig.end_faults("mimc")


def ask(rig: Rig, account: str = "alice", app_id: str = MAIN) -> requests.Response:
    headers = {"Authorization": f"Bearer {rig.bearer(account)}"}
    return rig.http.post(f"{rig.web}/api/account/token", json={"appId": app_id}, headers=headers, timeout=10)


def test_the_golden_answer_is_one_that_a_json_library_would_change() -> None:
    assert json.dumps(json.loads(GOLDEN)).encode() != GOLDEN
    assert int(float(15788717000364153)) != 15788717000364153
    assert all(part in GOLDEN for part in (b"\\/", b"15788717000364153", b"notYetKnown", b'200,  "message" : '))


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, GOLDEN), (500, GOLDEN), (500, REFUSAL), (200, REFUSAL), (404, b"<html>not here</html>"), (200, b"")],
)
def test_the_answer_is_theirs_byte_for_byte(rig: Rig, status: int, body: bytes) -> None:
    rig.fault("mimc", effect="raw", status=status, body=body.decode(), content_type=KIND)
    for _ in range(2):  # the second time over a kept connection
        answer = ask(rig)
        assert (answer.status_code, answer.content) == (status, body)
        assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == (KIND, "no-store")
        assert int(answer.headers["Content-Length"]) == len(body)


def test_each_user_gets_his_own_token_of_the_app_that_he_names(rig: Rig) -> None:
    answers = {
        (account, app_id): ask(rig, account, app_id).json()["data"]
        for account in ("alice", "张三")
        for app_id in (MAIN, OTHER)
    }
    assert {key: (it["appAccount"], it["appId"]) for key, it in answers.items()} == {key: key for key in answers}
    assert len({it["token"] for it in answers.values()}) == 4
    for it in answers.values():
        rig.secret("MIMC token", it["token"])
        rig.secret("miUserSecurityKey", it["miUserSecurityKey"])


@pytest.mark.parametrize(
    ("effect", "status"),
    [("reset", 502), ("close", 502), ("truncated", 502), ("not_http", 502), ("delay", 504), ("close_kept", 200)],
)
def test_without_a_whole_answer_the_client_reads_a_code_of_ours_in_time(rig: Rig, effect: str, status: int) -> None:
    rig.fault("mimc", effect=effect, delay_ms=2500)
    answer = ask(rig)
    assert (answer.status_code, answer.json()["code"]) == (status, status)
    assert answer.elapsed.total_seconds() < 2.2


def test_an_answer_that_repeats_our_app_secret_is_kept_from_the_client(rig: Rig) -> None:
    rig.fault("mimc", effect="raw", status=500, body=f"cannot read: {APP_SECRET[MAIN]}", content_type="text/plain")
    answer = ask(rig)
    assert (answer.status_code, answer.json()["code"]) == (502, 502)
    assert APP_SECRET[MAIN] not in answer.text


def check(rig: Rig, *options: str) -> tuple[int, str]:
    process = rig.start(
        "token-check", [sys.executable, "-m", "proxy", "token", "--check", "--account", "alice", *options]
    )
    return process.popen.wait(60), process.log.read_text()


def test_a_check_says_whether_the_broker_gives_a_token_and_shows_none(rig: Rig) -> None:
    code, said = check(rig)
    assert (code, said.count("\n")) == (0, 1), said
    assert said.startswith(f"ok      {rig.web}: the broker gave a MIMC token of appId {MAIN}, in an answer of ")
    rig.fault("mimc", effect="raw", status=200, body=REFUSAL.decode(), content_type=KIND)
    code, said = check(rig, "--app", "other")
    assert code == 1
    assert f"FAULT   {rig.web}: the broker passes on MIMC's refusal: MIMC's code 500\n" in said
    assert "FAULT   apps.other.app_secret: " in said
    rig.end_faults("mimc")
    code, said = check(rig, "--url", "http://127.0.0.1:1")
    assert code == 1
    assert "no answer from 127.0.0.1:1: ConnectionError; does `app-proxy web` run there?" in said
    assert "ok      apps.main.app_secret: " in said  # so the fault is on this side

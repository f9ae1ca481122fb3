"""schemathesis, which we did not write, calls whatever the document of a running service describes.

It makes inputs from the schemas, good ones and bad ones, and compares each answer with the document: no 5xx, no status,
header, content type or member that is not described, and nothing behind a proof for callers without one.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from proxy.mimc.calls import Family
from tests.system.rig import MAIN, URL_SECRET, Rig

ANSWERS = (
    "status_code_conformance", "content_type_conformance", "response_headers_conformance", "response_schema_conformance"
)  # fmt: skip
CHECKS = (*ANSWERS, "not_a_server_error", "ignored_auth", "unsupported_method")
EXAMPLES = 5  # drawn for an operation, besides what covers each of its members
NO_LIMIT = "1000000/minute"


@pytest.mark.trial
def test_each_answer_is_one_that_the_document_describes(place: Path) -> None:
    with Rig(place, mimc={"undocumented": True}) as rig:
        rig.start_web(
            APP_PROXY_APPS__MAIN__API=",".join(Family),
            APP_PROXY_AUTH__JWT__OWN__APP="main",
            APP_PROXY_AUTH__ACCOUNTS__KEY=rig.secret("accounts key", "key-of-the-accounts-0123456789abcdef"),
            APP_PROXY_AUTH__ACCOUNTS__DATABASE=str(place / "accounts.db"),
            APP_PROXY_ALERTS__BADGE="true",
            APP_PROXY_LIMITS__WRONG_SECRET_PER_ADDRESS=NO_LIMIT,
            APP_PROXY_LIMITS__SIGN_IN_PER_ADDRESS=NO_LIMIT,
            APP_PROXY_LIMITS__SIGN_IN_PER_ACCOUNT=NO_LIMIT,
            APP_PROXY_LIMITS__OPERATOR_PER_ADDRESS=NO_LIMIT,
        )
        (place / "schemathesis.toml").write_text(
            f'[parameters]\n"path.app_id" = "{MAIN}"\n"path.topic_id" = "{group_of(rig, "alice")}"\n'
            f'"path.url_secret" = "{URL_SECRET[MAIN]}"\n"header.appId" = "{MAIN}"\n'
        )
        document = rig.http.get(f"{rig.web}/openapi.json", timeout=10)
        (place / "openapi.json").write_bytes(document.content)
        operations = [operation for path in document.json()["paths"].values() for operation in path.values()]
        operators = sum("operator" in operation["tags"] for operation in operations)
        assert called(rig, rig.web, "--exclude-tag", CHECKS) == len(operations) - operators > 60
        assert called(rig, rig.operator, "--include-tag", ANSWERS) == operators


def group_of(rig: Rig, owner: str) -> str:
    """The topicId of a new group, which they own."""
    answer = rig.http.post(
        f"{rig.web}/api/topic/{MAIN}", json={"topicName": "of four", "accounts": "bob,carol,dora"}, timeout=10,
        headers={"Authorization": f"Bearer {rig.bearer(owner)}"},
    )  # fmt: skip
    topic_id: str = answer.json()["data"]["topicInfo"]["topicId"]
    return topic_id


def called(rig: Rig, address: str, option: str, checks: Sequence[str]) -> int:
    """How many operations schemathesis called, all with answers as described; `option` with or without the operator's.

    A service without a worker is not ready, and the operator's listener answers 404 for what is not the operator's.
    """
    argv = [
        str(Path(sys.executable).with_name("st")), "--config-file", str(rig.folder / "schemathesis.toml"), "run",
        str(rig.folder / "openapi.json"), "--url", address, "-H", f"Authorization: Bearer {rig.bearer('alice')}",
        option, "operator", "--checks", ",".join(checks), "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(EXAMPLES), "--seed", "1", "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(argv, cwd=rig.folder, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    found = re.search(r"^ +Tested: (\d+)$", done.stdout, re.MULTILINE)
    assert found, done.stdout[-5_000:]
    return int(found[1])

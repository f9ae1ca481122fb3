"""A user who is blocked while their alert waits does not get it, and gets no token."""

import subprocess
import sys

from tests.system.rig import MAIN, ROOT, Process, Rig, offline, push_token


def app_proxy(rig: Rig, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with the rig's settings."""
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments, "--config", str(rig.folder / "proxy.toml")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip


def settled_as(rig: Rig, worker: Process, outcome: str) -> bool:
    lines = rig.http.get(worker.facts["metrics"], timeout=5).text.splitlines()
    return any(it.startswith("app_proxy_jobs_settled_total{") and f'outcome="{outcome}"' in it for it in lines)


def test_a_job_that_waits_while_its_user_is_blocked_is_settled_as_blocked(rig: Rig) -> None:
    rig.start_web()
    worker = rig.start_worker()
    phone = push_token()
    assert rig.register("alice", "phone", phone).status_code == 200
    rig.fault("apns", effect="answer", status=503, reason="ServiceUnavailable", target=phone)
    assert rig.post(offline("bob", "alice", "hello", 1)).status_code == 200
    rig.wait(lambda: [it for it in rig.journal("apns") if it["status"] == 503], "the first, deferred push")
    app_proxy(rig, "accounts", "block", "alice")
    rig.end_faults("apns")
    rig.wait(lambda: settled_as(rig, worker, "blocked"), "the job's end")
    assert rig.accepted(phone) == []
    headers = {"Authorization": f"Bearer {rig.bearer('alice')}"}
    url = f"{rig.web}/api/account/token"
    assert rig.http.post(url, json={"appId": MAIN}, headers=headers, timeout=10).status_code == 401
    app_proxy(rig, "accounts", "unblock", "alice")
    assert rig.http.post(url, json={"appId": MAIN}, headers=headers, timeout=10).status_code == 200

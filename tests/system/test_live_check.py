"""`app-proxy live-check` over the emulators, and that its report repeats nothing."""

import json
from pathlib import Path

from tests.system.rig import APP_SECRET, MAIN, PUSH_SECRET, URL_SECRET, Rig, offline
from tests.test_cli import run

CANARY = "canary-of-a-user"


def test_the_emulators_confirm_what_is_presumed_and_the_report_holds_no_secret(place: Path) -> None:
    with Rig(place) as rig:
        rig.start_web(workers=1)
        token = "d1" * 32
        assert rig.register(CANARY, "phone", token).status_code == 200
        callback = json.dumps(offline(CANARY, f"{CANARY}-2", CANARY, 7)).encode()
        (rig.folder / "callbacks").write_bytes(callback + b"\n\n" + callback + b"\n")
        report = rig.folder / "report.json"
        words = ["--account", CANARY, "--device", "phone", "--shown", "1", "--callbacks", str(rig.folder / "callbacks")]
        result = run("live-check", "--config", str(rig.folder / "proxy.toml"), *words, "--report", str(report))
        said = json.loads(report.read_text())
        outcomes = {(it["number"], it.get("app")): it["outcome"] for it in said["checks"]}
        assert outcomes[1, None] == "confirmed"
        assert [outcomes[number, 1] for number in (2, 3, 4, 5)] == ["confirmed"] * 4, said
        assert [it["number"] for it in said["checks"] if it.get("elsewhere") and it["app"] == 1] == [2, 3, 4, 5]
        assert "2  confirmed  token fields [main]; not asked of the live service" in result.output
        # the other section has no such phone, and knows phones by their registration ids
        assert (outcomes[4, 2], outcomes[5, 2]) == ("not run", "not run")
        assert len({it["apns_id"] for it in rig.accepted(token)}) == 1
        assert len(rig.accepted(token)) == 2
        for secret in (CANARY, token, APP_SECRET[MAIN], PUSH_SECRET[MAIN], URL_SECRET[MAIN], MAIN, str(rig.folder)):
            assert secret not in report.read_text()
            assert secret not in result.output.replace(f"written: {report}", "")
        only = run("live-check", "--config", str(rig.folder / "proxy.toml"), "--check", "1")
        assert only.output.split() == ["1", "not", "run", "callback", "fields:", "no", "--callbacks"]

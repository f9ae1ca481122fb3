"""Keys and secrets in files are rotated under load, without a restart: nothing is lost, and nothing comes twice."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from proxy.files import replace_file
from proxy.store import keys
from tests.system.rig import KEY_ID, MAIN, PUSH_SECRET, TEAM, URL_SECRET, Rig, offline, write_key
from tests.system.test_lanes import device, notified, phone_of

NEXT_ID = "NEXTKEY123"
MESSAGES = 240


class RotatingRig(Rig):
    """The app's key, its id, and the secret of Mi Push lie in files. The emulated APNs knows the next key, too."""

    def _emulator_toml(self, name: str) -> str:
        text = super()._emulator_toml(name)
        if name == "apns":
            self.secret("next p8 key", write_key(self.folder / "next.p8"))
            own = f'{{ key_id = "{KEY_ID[MAIN]}", key = "main.p8" }}'
            assert own in text
            text = text.replace(own, f'{own}, {{ key_id = "{NEXT_ID}", key = "next.p8" }}')
        return text

    def _proxy_toml(self) -> str:
        (self.folder / "main.key_id").write_text(KEY_ID[MAIN])
        (self.folder / "main.push_secret").write_text("the former secret of Mi Push")
        (self.folder / "main.url_secret").write_text(URL_SECRET[MAIN])
        text = super()._proxy_toml()
        files = {"main.key_id": KEY_ID, "main.push_secret": PUSH_SECRET, "main.url_secret": URL_SECRET}
        for file, inline in ((file, of[MAIN]) for file, of in files.items()):
            assert text.count(f'"{inline}"') == 1
            text = text.replace(f'"{inline}"', f'{{ file = "{file}" }}')
        return text

    @property
    def p8(self) -> Path:
        return self.folder / "main.p8"


def in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.trial
def test_a_p8_and_a_secret_of_mi_push_are_rotated_under_load(place: Path) -> None:
    with RotatingRig(place, without=("mimc",)) as rig:
        rig.start_web(workers=1)
        ipad = device(rig, "alice", MAIN)
        phone_of(rig, "carl")
        worker = rig.start_worker()

        def write() -> None:
            for number in range(MESSAGES):
                for reader in ("alice", "carl"):
                    writer = f"writer {number}"  # of one conversation Xiaomi's phones show the latest alone
                    assert rig.post(offline(writer, reader, f"message {number}", number), MAIN).status_code == 200
                time.sleep(0.03)

        writing = in_background(write)
        rig.wait(lambda: len(rig.accepted(ipad)) > 20, "pushes signed by the former key")
        rig.wait(lambda: rig.readiness().get("lane main/mipush"), "the pause: Xiaomi knows a newer secret already")

        right = rig.p8.read_bytes()
        replace_file(rig.p8, right[: len(right) // 2])  # half a key
        rig.wait(lambda: "stays" in rig.worker_readiness(worker).get("files", ""), "the fault in /readyz")
        before = len(rig.accepted(ipad))
        rig.wait(lambda: len(rig.accepted(ipad)) > before + 5, "pushes all the same")

        replace_file(rig.p8, (rig.folder / "next.p8").read_bytes())
        replace_file(rig.folder / "main.key_id", NEXT_ID.encode())
        replace_file(rig.folder / "main.push_secret", PUSH_SECRET[MAIN].encode())
        key = keys.provider_token(TEAM[MAIN], NEXT_ID, rig.p8.read_bytes())
        signed = rig.wait(lambda: rig.redis().get(key), "a provider token of the next key")
        assert jwt.get_unverified_header(signed)["kid"] == NEXT_ID
        assert "files" not in rig.worker_readiness(worker)
        writing.join()
        rig.settled(MAIN, 90)

        pushes = rig.accepted(ipad)
        assert len(pushes) == len({it["apns_id"] for it in pushes}) == MESSAGES
        # a transport of its own for each key: the last went out on the next key's connection
        assert pushes[0]["connection"] != pushes[-1]["connection"]
        assert len(notified(rig)) == len({it["jobkey"] for it in notified(rig)}) == MESSAGES
        assert rig.dead_letters(MAIN) == []
        assert worker.stop() == 0


@pytest.mark.trial
def test_the_web_begins_anew_with_a_secret_whose_file_changed_and_tells_of_a_wrong_one(place: Path) -> None:
    with RotatingRig(place, without=("mimc", "apns", "mipush")) as rig:
        web = rig.start_web(workers=1)
        path = rig.folder / "main.url_secret"

        def answers(secret: str) -> int:
            body = offline("bob", "alice", "hello", 1)
            return rig.http.post(f"{rig.web}/callbacks/mimc/{secret}", json=body, timeout=10).status_code

        assert answers(URL_SECRET[MAIN]) == 200
        replace_file(path, b"short")
        told = rig.wait(lambda: rig.readiness().get("files"), "the fault in /readyz")
        assert "apps.main.url_secret" in told
        rig.wait(lambda: "not reloaded" in web.log.read_text(), "the master's own look")
        assert answers(URL_SECRET[MAIN]) == 200
        rig.secret("next url secret", "the-next-secret-of-a-url")
        replace_file(path, b"the-next-secret-of-a-url")
        rig.wait(lambda: answers("the-next-secret-of-a-url") == 200, "the next secret")
        rig.wait(lambda: answers(URL_SECRET[MAIN]) == 404, "the end of the former secret")
        rig.wait(lambda: "files" not in rig.readiness(), "the end of the fault")

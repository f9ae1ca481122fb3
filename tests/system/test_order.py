"""Where a phone keeps one alert of a conversation, it keeps the latest, whatever became of the answers."""

from pathlib import Path
from typing import Any

from tests.system.rig import OTHER, Rig, offline_topic

REGID = "regid-of-alice"


def sends(rig: Rig) -> list[str]:
    """The texts that the emulated Xiaomi push took on, in order."""
    return [it["shown_description"] for it in rig.journal("mipush") if it["outcome"] == "accepted"]


def phone(rig: Rig) -> dict[str, Any]:
    (found,) = rig.http.get(f"{rig.control('mipush')}/phones", timeout=5).json()["phones"]
    return dict(found)


def test_an_earlier_message_waits_while_it_is_open_whether_a_later_one_is_shown(place: Path) -> None:
    """Chaos seeds 23 and 32: its answer was lost, and the earlier one took its place before it was said again."""
    late_again = {"backoff_initial_s": 1.0}
    with Rig(place, relay=late_again, mipush={"unknown_targets": "accept"}, without=("apns", "mimc")) as rig:
        rig.start_web(workers=1)
        rig.start_worker()
        assert rig.register("alice", "phone", REGID, app_id=OTHER, platform="mipush").ok
        rig.fault("mipush", effect="silence_after", times=1)
        assert rig.post(offline_topic("bob", ["alice"], "the later one", 2, app_id=OTHER), OTHER).ok
        rig.wait(lambda: sends(rig), "the push whose answer is lost")
        assert rig.post(offline_topic("bob", ["alice"], "the earlier one", 1, app_id=OTHER), OTHER).ok
        rig.settled(OTHER)
        assert sends(rig) == ["the later one", "the later one"]
        assert [it["description"] for it in phone(rig)["shown"]] == ["the later one"]
        assert rig.dead_letters(OTHER) == []

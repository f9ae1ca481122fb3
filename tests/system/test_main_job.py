"""An offline message reaches the phones, through real processes."""

from tests.system.rig import Rig, offline, offline_topic, push_token


def test_an_offline_message_rings_once_on_each_of_the_readers_phones(rig: Rig) -> None:
    rig.start_web()
    rig.start_worker()
    iphone, ipad = push_token(), push_token()
    assert rig.register("alice", "iphone", iphone).status_code == 200
    assert rig.register("alice", "ipad", ipad).status_code == 200
    answers = [rig.post(offline("bob", "alice", "hello", 1)).json() for _ in range(2)]
    assert [it["data"]["duplicate"] for it in answers] == [False, True]
    rig.wait(lambda: len(rig.accepted()) >= 2, "both pushes")
    assert rig.post(offline_topic("bob", ["alice", "bob"], "hello all", 2)).status_code == 200
    rig.wait(lambda: len(rig.accepted()) >= 4, "the group's pushes")
    for token in (iphone, ipad):
        bodies = [it["payload"]["aps"]["alert"]["body"] for it in rig.accepted(token)]
        assert bodies == ["hello", "hello all"]

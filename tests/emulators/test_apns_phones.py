"""What an emulated iPhone shows after its pushes."""

from typing import Any

from proxy.emulators.apns.phones import phones_of

CONVERSATION = {"conversation": "topic:1"}


def push(at: int, item: str | None, aps: dict[str, Any], **more: Any) -> dict[str, Any]:
    facts = {"accepted": True, "device_token": "AB", "push_type": "alert", "apns_id": f"id-{at}"}
    payload = {"aps": aps, "mimc": more.pop("mimc", {})}
    return {"came_ms": at, "collapse_id": item, "payload": payload, **facts, **more}


def alert(at: int, item: str | None, body: str, sequence: int = 0, **more: Any) -> dict[str, Any]:
    mimc = CONVERSATION | ({"sequence": str(sequence)} if sequence else {})
    return push(at, item, {"alert": {"title": "bob", "body": body}, **more}, mimc=mimc)


def background(at: int, why: str, item: str, **data: str) -> dict[str, Any]:
    mimc = CONVERSATION | {"withdrawn": why, "message": item, **data}
    return push(at, None, {"content-available": 1}, push_type="background", mimc=mimc)


def shown(*journal: dict[str, Any]) -> list[str]:
    (phone,) = phones_of(journal)
    return [it["body"] for it in phone["shown"]]


def test_an_alert_takes_the_place_of_one_with_the_same_id_whichever_was_answered_first() -> None:
    assert shown(alert(2, "a", "second"), alert(1, "a", "first"), alert(0, "b", "other")) == ["other", "second"]
    assert shown(alert(1, None, "one"), alert(2, None, "two")) == ["one", "two"]


def test_the_number_on_the_icon_is_the_last_one_that_came() -> None:
    pushes = (
        alert(1, "a", "one", badge=1),
        alert(2, "b", "two"),
        push(4, None, {"badge": 0}),
        alert(3, "c", "", badge=7),
    )
    (phone,) = phones_of(pushes)
    assert (phone["device_token"], phone["badge"], phone["badge_ms"]) == ("ab", 0, 4)
    assert len(phone["shown"]) == 3


def test_a_background_push_lets_the_app_remove_what_it_names_and_what_was_before_it() -> None:
    before = alert(1, "a", "first", 1), alert(2, "b", "second", 2), alert(3, "c", "third", 3), alert(4, "d", "of 2018")
    assert shown(*before, background(5, "recall", "b", sequence="2")) == ["first", "third", "of 2018"]
    assert shown(*before, background(5, "read", "b", sequence="2")) == ["third", "of 2018"]
    assert shown(*before, background(5, "read", "d")) == ["first", "second", "third"]
    assert shown(*before, background(5, "read", "b", sequence="2", conversation="p2p:bob")) == [
        "first", "third", "of 2018",
    ]  # fmt: skip


def test_what_was_refused_is_on_no_phone() -> None:
    assert phones_of([{**alert(1, "a", "first"), "accepted": False}]) == []


def test_a_phone_with_a_name_is_there_before_its_first_push() -> None:
    assert phones_of([], {"ab": "alices-iphone"}) == [
        {"device_token": "ab", "phone": "alices-iphone", "badge": None, "badge_ms": None, "shown": []}
    ]
    (phone,) = phones_of([alert(1, "a", "first")], {"ab": "alices-iphone"})
    assert (phone["phone"], len(phone["shown"])) == ("alices-iphone", 1)


def test_an_alert_has_its_group_and_its_thread() -> None:
    said = {"alert": {"title": "bob", "subtitle": "Hiking", "body": "hello"}, "thread-id": "topic:1"}
    (shown_alert,) = phones_of([push(1, "a", said)])[0]["shown"]
    assert {name: shown_alert[name] for name in ("title", "subtitle", "body", "thread")} == {
        "title": "bob", "subtitle": "Hiking", "body": "hello", "thread": "topic:1",
    }  # fmt: skip

"""The seed repeats what is drawn before a run, and what is drawn is as large and as mixed as the run promises."""

import base64
import json
from collections import Counter

import pytest

from tests.chaos.bodies import body_of, notice_body
from tests.chaos.dice import CLUSTERED, REPLICATED, TRACKS, draw_troubles
from tests.chaos.messages import Message, draw_messages
from tests.chaos.notices import READ, RECALL, Notice, draw_all
from tests.chaos.people import APP_IDS, draw_people
from tests.chaos.providers import ORDERS
from tests.chaos.size import CLUSTER, FULL, SENTINEL, SHORT, Size


def messages(seed: int, size: Size) -> list[Message]:
    return list(draw_messages(seed, size, list(draw_people(seed, size).values())))


def written(seed: int) -> list[Message | Notice]:
    return list(draw_all(seed, SHORT, list(draw_people(seed, SHORT).values())))


def alerts_due(seed: int, size: Size) -> int:
    """How many alerts if no phone changes."""
    people = draw_people(seed, size)
    phones = {app_id: Counter(phone.account for phone in people[app_id].phones) for app_id in APP_IDS}
    return sum(
        phones[message.app_id][account]
        for message in messages(seed, size)
        for account in {
            name
            for announcement in message.announcements
            if announcement.kind.startswith("OFFLINE")
            for name in announcement.recipients
        }
        if account != message.sender
    )


def test_a_seed_draws_the_same_world_again_and_another_seed_another() -> None:
    assert draw_people(7, SHORT) == draw_people(7, SHORT) != draw_people(8, SHORT)
    assert messages(7, SHORT) == messages(7, SHORT) != messages(8, SHORT)
    assert written(7) == written(7) != written(8)
    assert draw_troubles(7, SHORT) == draw_troubles(7, SHORT) != draw_troubles(8, SHORT)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_full_run_makes_60_000_to_120_000_alerts_due(seed: int) -> None:
    assert FULL.messages >= 20_000
    assert 65_000 < alerts_due(seed, FULL) < 115_000


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_full_run_has_every_kind_of_trouble_and_leaves_time_to_recover(seed: int) -> None:
    plan = draw_troubles(seed, FULL)
    assert {track: {trouble.kind for trouble in troubles} for track, troubles in plan.items()} == {
        track: set(kinds) for track, kinds in TRACKS.items()
    }
    assert max(trouble.begins_s for troubles in plan.values() for trouble in troubles) < FULL.seconds


@pytest.mark.parametrize(
    ("size", "kinds"),
    [
        (FULL.with_store(CLUSTER, 1), {*CLUSTERED}),
        (FULL.with_store(SENTINEL, 2), {*REPLICATED}),
        (FULL.with_store(SENTINEL, 1), {*REPLICATED} - {"store_away"}),  # it hangs where all must have a callback
    ],
)
def test_a_store_of_several_servers_has_troubles_of_its_own(size: Size, kinds: set[str]) -> None:
    plan = draw_troubles(1, size)
    assert {trouble.kind for trouble in plan["store"]} == kinds
    assert {**plan, "store": []} == {**draw_troubles(1, FULL), "store": []}


def test_every_trouble_of_a_provider_has_an_order_for_its_emulator() -> None:
    assert {name: set(orders) for name, orders in ORDERS.items()} == {name: set(TRACKS[name]) for name in ORDERS}


def test_groups_have_one_to_500_members_and_many_are_small() -> None:
    sizes = sorted(len(group.members) for people in draw_people(1, FULL).values() for group in people.groups)
    assert (sizes[0], sizes[-1]) == (1, 500)
    assert sizes[len(sizes) // 2] < 10


def test_messages_are_announced_in_all_the_ways_of_mimc() -> None:
    drawn = messages(1, SHORT)
    announcement = [announcement for message in drawn for announcement in message.announcements]
    assert {announcement.kind for announcement in announcement} == {
        "NORMAL_MSG",
        "OFFLINE_MSG",
        "NORMAL_TOPIC_MSG",
        "OFFLINE_TOPIC_MSG",
    }
    assert any(announcement.twin for announcement in announcement)
    assert any(announcement.unheard for announcement in announcement)
    assert {message.old for message in drawn} == {True, False}
    assert any(overlap(message) for message in drawn if message.group)
    assert len({message.word for message in drawn}) == len(drawn)


def test_the_word_stands_in_the_payload_alone_and_an_old_body_has_no_new_members() -> None:
    for message in messages(1, SHORT):
        for announcement in message.announcements:
            body = json.loads(body_of(message, announcement, 1_700_000_000_000))
            assert ("sequence" in body) == ("authentication" in body) == (not message.old)
            assert message.word not in json.dumps(body)  # it is in base64 there, and nowhere else


def test_messages_are_read_and_recalled_in_all_the_ways_of_apps() -> None:
    drawn = written(1)
    notices = [one for one in drawn if isinstance(one, Notice)]
    assert [one.at_s for one in drawn] == sorted(one.at_s for one in drawn)
    assert len({one.number for one in notices}) == len(notices)
    assert all(one.message.has_id for one in notices)
    recalls = [one for one in notices if one.why == RECALL]
    reads = [one for one in notices if one.why == READ]
    assert len(reads) > len(recalls) > 30
    assert {one.by == one.message.sender for one in recalls} == {True, False}
    assert all(one.by != one.message.sender for one in reads)
    assert max(Counter((one.message.word, one.by) for one in recalls).values()) == 2
    early = [one for one in recalls if one.at_s == one.message.at_s]
    assert early
    assert all(it.after_s > 0 for one in early for it in one.message.announcements)
    for way in (
        {one.announcement.kind for one in notices},
        {bool(one.message.group) for one in recalls},
        {one.message.old for one in recalls},
        {one.message.style for one in reads},
    ):
        assert len(way) > 1


def test_a_notice_names_its_message_by_the_apps_own_id() -> None:
    for one in written(1):
        if isinstance(one, Notice):
            body = json.loads(notice_body(one, 1_700_000_000_000))
            inner = json.loads(base64.b64decode(body["payload"]))
            said = inner["payload"]
            assert f"TEXT_{one.message.sequence}" == (said if isinstance(said, str) else said[f"{one.why}_msgId"])
            types = (body.get("bizType"), inner.get("msgType"), inner.get("type"))
            assert [it for it in types if it] == [f"TEXT_{one.why.upper()}"]


def overlap(message: Message) -> bool:
    offline = [
        set(announcement.recipients)
        for announcement in message.announcements
        if announcement.kind == "OFFLINE_TOPIC_MSG"
    ]
    return len(offline) > 1 and bool(set.intersection(*offline[:2]))

"""Intake with webhooks: what is stored lies in their lanes, in the same step, once."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.domain.callbacks import Receipt
from proxy.domain.forwards import Copy, Forward
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import Letter
from proxy.domain.webhooks import lane_of_webhook
from proxy.errors import StoreFull
from proxy.spool.drain import Drain
from proxy.spool.folder import Spool
from proxy.spool.inbox import SpoolingInbox
from proxy.store.connection import Store
from proxy.store.queue.copying_inbox import CopyingInbox
from proxy.store.queue.inbox import RedisInbox
from proxy.store.records import load_forward
from tests.store.samples import DAY, NOON, callback, for_inbox, raw

BODY = '{"msgType":"OFFLINE_MSG","payload":"你好\\n","sequence":12345678901234567890}'.encode()


def webhooks(app_id: str) -> tuple[Lane, Lane]:
    return lane_of_webhook(app_id, "main", "crm"), lane_of_webhook(app_id, "main", "search")


def letter(app_id: str, sequence: int = 1, *, most: Sequence[int] = (100, 100), is_planned: bool = True) -> Letter:
    message, callback_id = for_inbox(callback(app_id, sequence=str(sequence)), NOON)
    copies = tuple(
        Copy(lane, Forward(lane.app, lane.channel, callback_id, "OFFLINE_MSG", NOON + DAY, BODY), most_of_it)
        for lane, most_of_it in zip(webhooks(app_id), most, strict=True)
    )
    return Letter(message, callback_id, copies, is_planned)


class Intake:
    def __init__(self, store: Store, app_id: str, cap: int = 100) -> None:
        self.store, self.app_id, self.full = store, app_id, list[str]()
        self.inbox = CopyingInbox(
            store, DAY, cap, lanes=webhooks(app_id), on_full=lambda lane: self.full.append(lane.channel)
        )

    def planned(self) -> int:
        layout = self.store.layout
        return sum(raw(self.store, "XLEN", layout.callbacks(self.app_id, it)) for it in layout.all_shards)

    def forwards(self, which: int = 0) -> list[Forward]:
        lane, layout = webhooks(self.app_id)[which], self.store.layout
        found = [raw(self.store, "XRANGE", layout.jobs(lane, shard), "-", "+") for shard in layout.all_shards]
        entries = [entry for its in found for entry in its]
        return [load_forward(fields[b"r"]) for _, fields in entries]


def test_a_callback_is_planned_and_lies_in_each_lane_as_it_came_once(store: Store, app_id: str) -> None:
    intake, one = Intake(store, app_id), letter(app_id)
    assert intake.inbox.accept_all([one, one]) == [Receipt(duplicate=False), Receipt(duplicate=True)]
    assert RedisInbox(store, DAY, 100).accept(one.message, one.callback_id) == Receipt(duplicate=True)  # one mark
    assert intake.planned() == 1
    assert [intake.forwards(0), intake.forwards(1)] == [[it.forward] for it in one.copies]


def test_one_for_webhooks_alone_is_not_planned_and_known_when_it_comes_again(store: Store, app_id: str) -> None:
    intake, one = Intake(store, app_id, cap=1), letter(app_id, is_planned=False)
    assert intake.inbox.accept_all([one, one]) == [Receipt(duplicate=False), Receipt(duplicate=True)]
    assert (intake.planned(), len(intake.forwards())) == (0, 1)


def test_a_full_webhook_keeps_nothing_from_the_plan_or_another_and_is_told_of(store: Store, app_id: str) -> None:
    intake = Intake(store, app_id)
    ones = [letter(app_id, number, most=(1, 100)) for number in (1, 2)]
    assert intake.inbox.accept_all(ones) == [Receipt(duplicate=False)] * 2
    assert (intake.planned(), len(intake.forwards(0)), len(intake.forwards(1))) == (2, 1, 2)
    assert intake.full == ["webhook-crm"]


def test_where_the_plan_has_no_room_no_webhook_gets_what_mimc_will_say_again(store: Store, app_id: str) -> None:
    intake = Intake(store, app_id, cap=1)
    (first, refused) = intake.inbox.accept_all([letter(app_id, 1), letter(app_id, 2)])
    assert first == Receipt(duplicate=False)
    assert isinstance(refused, StoreFull)
    assert len(intake.forwards()) == 1


@pytest.mark.parametrize("is_planned", [True, False])
@pytest.mark.parametrize("knows_time", [True, False])
def test_what_came_while_the_store_was_away_reaches_its_webhooks_once_it_is_back(
    store: Store, app_id: str, tmp_path: Path, is_planned: bool, knows_time: bool
) -> None:
    away, spool = Store("unix:///nonexistent/socket"), Spool(tmp_path, max_bytes=1 << 20, max_age=DAY)
    one = letter(app_id, is_planned=is_planned)
    spooling = SpoolingInbox(Intake(away, app_id).inbox, away, spool, lambda: knows_time)
    assert spooling.accept_all([one]) == [Receipt(duplicate=False, spooled=True)]
    intake = Intake(store, app_id)
    (drained,) = Drain(spool, intake.inbox, timedelta(hours=12), lambda: NOON, timedelta).run()
    assert (drained.accepted, drained.left, drained.unreadable) == (1, 0, 0)
    assert intake.planned() == int(is_planned)
    assert intake.forwards() == [one.copies[0].forward]

"""Callbacks that a thread answers together: one question to the inbox, and an answer of its own for each."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs
from werkzeug.test import EnvironBuilder

from proxy.domain.callbacks import Receipt
from proxy.domain.offline_messages import Letter
from proxy.errors import StoreFull, StoreUnavailable
from proxy.web.together import TOGETHER, Together
from tests.web.test_callbacks import PATH, counted, offline
from tests.web.world import MemoryInbox, World


class Asked(MemoryInbox):
    """Counts the questions, and has no room for one sequence."""

    def __init__(self, full: str = "") -> None:
        super().__init__()
        self.full, self.questions = full, list[int]()

    def accept_all(self, letters: Sequence[Letter]) -> list[Receipt | StoreUnavailable]:
        self.questions.append(len(letters))
        receipts = super().accept_all(letters)
        return [
            StoreFull("full") if letter.message.sequence == self.full else receipt
            for letter, receipt in zip(letters, receipts, strict=True)
        ]


def answers(inbox: MemoryInbox, bodies: Iterable[dict[str, object]]) -> list[tuple[int, bytes]]:
    """As the server does it: all are begun before the first is asked for its answer."""
    world, together = World(), Together()
    vars(world.services)["inbox"] = inbox
    begun = []
    for number, body in enumerate(bodies):
        ask = EnvironBuilder(PATH, method="POST", json=body, headers=[("X-Request-Id", f"r{number}")])
        started: list[str] = []
        begun.append((started, world.app(ask.get_environ() | {TOGETHER: together}, keeping(started))))
    return [(int(started[0][:3]), text) for started, content in begun if (text := b"".join(content))]


def keeping(started: list[str]) -> Any:
    return lambda status, _headers: started.append(status)


def test_callbacks_of_one_thread_are_stored_by_one_question_and_each_has_its_answer() -> None:
    inbox = Asked(full="3")
    bodies = [
        offline(sequence="1"), offline(sequence="2"), offline(sequence="1"), offline(msgType="NORMAL_MSG"),
        offline(sequence="3"), offline(fromAccount=7),
    ]  # fmt: skip
    with capture_logs() as lines:
        found = answers(inbox, bodies)
    assert inbox.questions == [4]
    assert [status for status, _ in found] == [200, 200, 200, 200, 503, 400]
    assert [b'"duplicate":true' in text for _, text in found] == [False, False, True, False, False, False]
    told = {line["request_id"]: (line["status"], line["kind"], line["result"]) for line in lines}
    assert told == {
        "r0": (200, "OFFLINE_MSG", "accepted"), "r1": (200, "OFFLINE_MSG", "accepted"),
        "r2": (200, "OFFLINE_MSG", "duplicate"), "r3": (200, "NORMAL_MSG", "instant"),
        "r4": (503, "OFFLINE_MSG", "unavailable"), "r5": (400, "other", "bad"),
    }  # fmt: skip


def test_a_store_that_is_away_is_asked_once_and_told_to_each() -> None:
    inbox, before = Asked(), counted("OFFLINE_MSG", "unavailable")
    inbox.failure = StoreUnavailable("the store does not answer")
    with capture_logs() as lines:
        found = answers(inbox, [offline(sequence="1"), offline(sequence="2")])
    assert [status for status, _ in found] == [503, 503]
    assert inbox.questions == [2]
    assert [line["store"] for line in lines] == ["the store does not answer"] * 2
    assert counted("OFFLINE_MSG", "unavailable") == before + 2


def test_a_fault_of_ours_is_500_for_each_and_its_message_in_no_answer_and_no_log() -> None:
    class Broken(MemoryInbox):
        def accept_all(self, letters: Sequence[Letter]) -> list[Receipt | StoreUnavailable]:  # noqa: ARG002  the port's signature
            raise ValueError("hush")

    with capture_logs() as lines:
        found = answers(Broken(), [offline(sequence="1"), offline(sequence="2")])
    assert [status for status, _ in found] == [500, 500]
    assert [line["error"] for line in lines if line["event"] == "request"] == ["ValueError"] * 2
    assert "hush" not in repr((lines, found))


@pytest.mark.parametrize("late", [False, True])
def test_what_was_put_in_is_asked_for_once(late: bool) -> None:
    inbox, together, world = Asked(), Together(), World()
    world.client.post(PATH, json=offline())
    (message,) = world.inbox.stored.values()
    receipt = together.put(Letter(message, "id"), inbox)
    assert receipt() is receipt()
    if late:
        assert together.put(Letter(message, "other"), inbox)() == Receipt(duplicate=False)
        assert inbox.questions == [1, 1]
    else:
        assert inbox.questions == [1]

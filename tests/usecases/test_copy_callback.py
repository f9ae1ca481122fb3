"""Which webhooks get a callback, and what they get of it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import Letter
from proxy.domain.webhooks import Webhook, lane_of_webhook
from proxy.mimc.bare_body import without_authentication
from proxy.mimc.wire import parse_callback
from proxy.usecases.accept_callback import Acceptance, judge_callback
from proxy.usecases.copy_callback import Copying

NOW, DAY = datetime(2026, 11, 28, 12, tzinfo=UTC), timedelta(days=1)
KINDS = ("NORMAL_MSG", "OFFLINE_MSG", "NORMAL_TOPIC_MSG", "OFFLINE_TOPIC_MSG", "UCTOPIC_MSG")
ANY = Webhook(lane_of_webhook("1", "main", "crm"), frozenset(KINDS), DAY, 10)
OTHER = replace(ANY, lane=lane_of_webhook("1", "main", "other"))


def body(kind: str = "OFFLINE_MSG", **changes: Any) -> bytes:
    members = {
        "msgType": kind, "fromAppId": 1, "toAppId": 1, "appId": 1, "fromAccount": "ann",
        "topicId": 12345678901234567890, "payload": "aGVsbG8=", "timestamp": int(NOW.timestamp() * 1000),
        "sequence": 7, "authentication": "proof",
    }  # fmt: skip
    readers = {"toAccounts": ["ben", "cai"]} if "TOPIC" in kind else {"toAccount": "ben"}
    return json.dumps(members | readers | changes).encode()


def judged(what: bytes, webhooks: Sequence[Webhook] = (ANY,), now: datetime = NOW) -> Acceptance | Letter:
    callback = parse_callback(what)
    before = judge_callback(callback, now=now, second_clock=lambda: now, dedupe_ttl=DAY)
    copying = Copying({"1": webhooks}, without_authentication)
    return copying.with_copies(before, callback, what, "1", now=now, second_clock=lambda: now, dedupe_ttl=DAY)


def lanes(of: Acceptance | Letter) -> list[Lane]:
    return [it.lane for it in of.copies] if isinstance(of, Letter) else []


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_goes_as_mimc_wrote_it_but_for_its_proof(kind: str) -> None:
    what, passing = body(kind), replace(OTHER, passes_authentication=True)
    found = judged(what, [ANY, passing])
    assert isinstance(found, Letter)
    bare, whole = (it.forward for it in found.copies)
    assert bare.body == what.replace(b', "authentication": "proof"', b"")
    assert whole.body == what
    assert (bare.kind, bare.until, bare.id) == (kind, NOW + DAY, found.callback_id)
    assert found.is_planned is kind.startswith("OFFLINE")
    assert bool(found.message.recipients) is found.is_planned  # so that no program makes alerts of the others


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeat_with_a_new_proof_has_the_same_id_and_another_callback_has_not(kind: str) -> None:
    first, repeat, other = (
        judged(body(kind, **changes)) for changes in ({}, {"authentication": "made anew"}, {"sequence": 8})
    )
    assert isinstance(first, Letter)
    assert isinstance(repeat, Letter)
    assert isinstance(other, Letter)
    assert first.callback_id == repeat.callback_id != other.callback_id


@pytest.mark.parametrize(("of", "kinds"), [
    ({"accounts": frozenset({"ann"})}, KINDS[:4]),  # of UCTOPIC_MSG no account is known
    ({"accounts": frozenset({"cai"})}, ("NORMAL_TOPIC_MSG", "OFFLINE_TOPIC_MSG")),
    ({"topics": frozenset({"12345678901234567890"})}, ("NORMAL_TOPIC_MSG", "OFFLINE_TOPIC_MSG")),
    ({"topics": frozenset({"99"}), "accounts": frozenset({"ben"})}, KINDS[:4]),
    ({"accounts": frozenset({"zoe"})}, ()),
    ({"kinds": frozenset({"UCTOPIC_MSG"})}, ("UCTOPIC_MSG",)),
])  # fmt: skip
def test_a_webhook_gets_the_kinds_accounts_and_groups_that_it_names(of: dict[str, Any], kinds: Sequence[str]) -> None:
    its = replace(OTHER, **of)
    assert [kind for kind in KINDS if its.lane in lanes(judged(body(kind), [its, ANY]))] == list(kinds)
    assert all(ANY.lane in lanes(judged(body(kind), [its, ANY])) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS[:4])
def test_a_stale_callback_goes_nowhere_for_the_store_no_longer_knows_whether_it_had_it(kind: str) -> None:
    assert judged(body(kind), now=NOW + 2 * DAY) is Acceptance.STALE


def test_what_no_webhook_takes_is_judged_as_ever() -> None:
    assert judged(body("NORMAL_MSG"), []) is Acceptance.INSTANT
    assert judged(body("SOMETHING_NEW")) is Acceptance.IGNORED
    letter = judged(body(), [])
    assert isinstance(letter, Letter)
    assert letter.copies == ()

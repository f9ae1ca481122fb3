"""Message roaming: MIMC's chapter 11, for two accounts (p2p), groups (p2t) and unlimited groups (p2u).

The answers' rows go from old to new, at most 1000; neither is documented.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from proxy.emulators.mimc.asked import Asked, Call, Credentials
from proxy.emulators.mimc.history import ROWS_LIMIT, Conversation, Kept, between, of_topic
from proxy.emulators.mimc.refusals import BAD_REQUEST, NOT_ALLOWED, NOT_FOUND, Refused

if TYPE_CHECKING:
    from proxy.emulators.mimc.service import Mimc

_DAY_MS = 86_400_000
_BY_SEQUENCE_MS = 7 * _DAY_MS

_Find = Callable[["Mimc", Asked, str], dict[str, Any]]


def _on_time(mimc: "Mimc", asked: Asked, kind: str) -> dict[str, Any]:
    start, end = asked.number("utcFromTime"), asked.number("utcToTime")
    if not 0 <= end - start <= _DAY_MS:
        raise Refused(BAD_REQUEST, "utcToTime: expected at most 24 hours after utcFromTime")
    found = _read(mimc, asked, kind, lambda message: start <= message.timestamp_ms < end)
    return _reply(asked, kind, found[:ROWS_LIMIT])


def _on_count(mimc: "Mimc", asked: Asked, kind: str) -> dict[str, Any]:
    end, count = asked.number("utcToTime"), asked.number("count")
    if not 1 <= count <= ROWS_LIMIT:
        raise Refused(BAD_REQUEST, f"count: expected 1 to {ROWS_LIMIT}")
    found = _read(mimc, asked, kind, lambda message: message.timestamp_ms < end)[-count:]
    reply = _reply(asked, kind, found)
    return reply | {"timestamp": found[0].timestamp_ms} if found else reply


def _on_sequence(mimc: "Mimc", asked: Asked, kind: str) -> dict[str, Any]:
    start, stop = asked.number("startSeq"), asked.number("stopSeq")
    oldest_ms = time.time() * 1000 - _BY_SEQUENCE_MS

    def is_wanted(message: Kept) -> bool:
        return start <= message.sequence < stop and message.timestamp_ms >= oldest_ms

    found = sorted(_read(mimc, asked, kind, is_wanted), key=lambda message: message.sequence)
    return _reply(asked, kind, found[:ROWS_LIMIT], sender_is_topic=kind == "p2t")


def _set_extra(mimc: "Mimc", asked: Asked, kind: str) -> None:
    where, _ = _conversation(mimc, asked, kind)
    extra = asked.optional_text("extra")
    if extra is None:
        raise Refused(BAD_REQUEST, "extra: expected a text")
    if not mimc.history.set_extra(where, asked.number("sequence"), extra, asked.caller.account):
        raise Refused(NOT_FOUND, "sequence: no such message")


def _calls(kind: str, ways: dict[str, _Find]) -> tuple[Call, ...]:
    member = "toAccount" if kind == "p2p" else "account"
    return tuple(
        Call(
            "POST", f"/api/msg/{kind}/{way}", Credentials.HEADERS, partial(_by_kind, find, kind), account_member=member
        )
        for way, find in ways.items()
    )


def _by_kind(find: _Find, kind: str, mimc: "Mimc", asked: Asked) -> Any:
    return find(mimc, asked, kind)


_BY_TIME: dict[str, _Find] = {"query/": _on_time, "queryOnTime/": _on_time, "queryOnCount/": _on_count}
_ALL: dict[str, Any] = _BY_TIME | {"queryOnSequence/": _on_sequence, "extra/update": _set_extra}
CALLS = _calls("p2p", _ALL) + _calls("p2t", _ALL) + _calls("p2u", _BY_TIME)


def _read(mimc: "Mimc", asked: Asked, kind: str, is_in_range: Callable[[Kept], bool]) -> list[Kept]:
    """What the caller may see of it, filtered by bizType and extra where they are given."""
    where, sees_all = _conversation(mimc, asked, kind)
    biz_type, extra = asked.optional_text("bizType"), asked.optional_text("extra")

    def is_wanted(message: Kept) -> bool:
        return (
            is_in_range(message)
            and (sees_all or asked.caller.account in message.seen_by)
            and biz_type in (None, message.biz_type)
            and extra in (None, message.extra)
        )

    return mimc.history.read(where, is_wanted)


def _conversation(mimc: "Mimc", asked: Asked, kind: str) -> tuple[Conversation, bool]:
    """Which it is, and whether the caller sees all of it; else only what they had part in. Raises Refused."""
    app_id, account = asked.caller.app_id, asked.caller.account
    if kind == "p2p":
        pair = asked.text("fromAccount"), asked.text("toAccount")
        if account not in pair:
            raise Refused(NOT_ALLOWED, "fromAccount or toAccount: expected the asking account")
        return between(app_id, *pair), False
    if asked.text("account") != account:
        raise Refused(NOT_ALLOWED, "account: expected the asking account")
    topic_id = asked.topic_id()
    groups = mimc.groups if kind == "p2t" else mimc.unlimited
    is_member = groups.has_member(app_id, topic_id, account)
    if is_member is False:
        raise Refused(NOT_ALLOWED, "the account is no member of this topic")
    return of_topic(app_id, topic_id), bool(is_member)


def _reply(asked: Asked, kind: str, messages: list[Kept], sender_is_topic: bool = False) -> dict[str, Any]:
    """`sender_is_topic`: MIMC remarks that in p2t/queryOnSequence fromAccount holds the topicId."""
    topic = {} if kind == "p2p" else {"topicId": asked.topic_id()}
    sender = topic["topicId"] if sender_is_topic else None
    rows = [_row(message, sender or message.from_account) for message in messages]
    return {"appId": asked.caller.app_id, **topic, "messages": rows, "row": len(rows)}


def _row(message: Kept, sender: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "sequence": str(message.sequence),
        "payload": message.payload_base64,
        "ts": message.timestamp_ms,
        "fromAccount": sender,
    }
    row |= {"toAccount": message.to_account} if message.to_account is not None else {}
    row |= {"bizType": message.biz_type} if message.biz_type else {}
    return row | ({"extra": message.extra} if message.extra is not None else {})

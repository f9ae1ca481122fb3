"""What webhooks get of a callback in the spool, where there are no lanes: members of its message's record, which an
earlier program passes over.
"""

import json
from collections.abc import Sequence
from typing import Any

from proxy.compact_json import compact_json
from proxy.domain.forwards import Copy
from proxy.domain.lanes import Lane
from proxy.store.records import UnreadableRecord, dump_forward, load_forward

_COPIES, _IS_PLANNED = "copies", "planned"
_MARK = b'"copies":'


def with_copies(message_record: bytes, copies: Sequence[Copy], *, is_planned: bool) -> bytes:
    """The record of a message, in JSON, and beside the message what webhooks get."""
    told = [[it.lane.app_id, it.most, dump_forward(it.forward).decode()] for it in copies]
    return _with(message_record, {_COPIES: told, _IS_PLANNED: int(is_planned)})


def copies_in(message_record: bytes) -> tuple[tuple[Copy, ...], bool]:
    """What goes to webhooks, and whether the message is to be planned, too. What is unreadable of it goes nowhere."""
    fields, copies = _members(message_record), list[Copy]()
    try:
        for app_id, most, record in fields.get(_COPIES, []):
            forward = load_forward(record.encode())
            copies.append(Copy(Lane(str(app_id), forward.app, forward.channel), forward, int(most)))
    except (UnreadableRecord, TypeError, ValueError, AttributeError):  # of another version
        copies = []
    return tuple(copies), bool(fields.get(_IS_PLANNED, 1))


def carried_over(message_record: bytes, to: bytes) -> bytes:
    """The record `to` with what the other one has for webhooks."""
    members = {name: its for name, its in _members(message_record).items() if name in (_COPIES, _IS_PLANNED)}
    return _with(to, members) if members else to


def _members(message_record: bytes) -> dict[str, Any]:
    """Empty where there is nothing for webhooks: most are not looked into."""
    if _MARK not in message_record or not message_record.startswith(b"{"):
        return {}
    fields: dict[str, Any] = json.loads(message_record)
    return fields


def _with(message_record: bytes, members: dict[str, Any]) -> bytes:
    return compact_json(json.loads(message_record) | members).encode("utf-8", "surrogatepass")

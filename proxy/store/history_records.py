"""Notes of the history as bytes. A record is a head, which notes of one message and result share, and members.

    head    version, result, flags            1 byte each
            message id, shortened             8 bytes (a text where it is not 16 hex digits)
            accepted at                       6 bytes, ms since 1970
            MIMC's own time                   difference to that
            conversation                      text
            channel, app                      a number (a text follows 0), a text; of no app the number is 1
            reason                            text
    member  account                           text
            device id                         text; 17 bytes where it is a UUID
            planned, pushed, answered at      each the difference to the one before
            tries                             their number; of each the difference to the first time, and the reason

A number is a varint (7 bits a byte, the lowest first); a difference 0 where the time is unknown, else 1 + its zigzag
form (0, -1, 1, -2 ... as 0, 1, 2, 3 ...); a text its length in bytes and UTF-8. Every message makes a record or more
that live for 7 days, so that JSON's names alone would cost more than all of this.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from zlib import crc32

from proxy.domain.decisions import Result
from proxy.domain.devices import APNS_SANDBOX, Platform
from proxy.domain.history import Note, Reason
from proxy.domain.jobs import Try
from proxy.domain.times import from_ms, to_ms
from proxy.store.records import UnreadableRecord

VERSION = 1
BUCKETS = 64  # of each appId; a multiple of any sensible number of shards, so that a bucket lies in one of them
_MAX_TEXT = 256  # bytes of a text whose length others decide
# the place is the code: add at the end alone
_RESULTS = (
    *("", Result.ACCEPTED, Result.RETRY, Result.PAUSED, Result.DEAD_LETTER, Result.SUPERSEDED, Result.BLOCKED),
    *(Result.DEVICE_MOVED, Result.DEVICE_GONE, Result.UNKNOWN_ACCOUNT, Result.IMPOSSIBLE, Result.OTHER_ENVIRONMENT),
    *(Result.SANDBOX_OFF, Reason.KIND_IS_SILENT, Reason.OWN_MESSAGE, Reason.EXPIRED, Reason.NO_DEVICE, Reason.PRESENT),
    *(Reason.MUTED, Reason.ONLINE, Reason.CHANNEL_OFF, Reason.PLANNED_BEFORE, Reason.POISON, Reason.RECALLED),
    *(Result.WITHDRAWN, Result.DROPPED, Result.FALLBACK),
)
# the same; a channel that is not among them costs its name in each record
_CHANNELS = (Platform.APNS.value, APNS_SANDBOX, Platform.MIPUSH.value, Platform.HTTP.value)
_NO_APP, _FIRST_CHANNEL = 1, 2
_ID_BYTES = 8
_CODES = {str(result): code for code, result in enumerate(_RESULTS)}
_SILENT, _URGENT, _P2P, _TEXT_ID = 1, 2, 4, 8
_PEER = "p2p:"
_NO_TIMES = b"\0\0\0\0"  # nor tries
_UUID_SMALL, _UUID_CAPITAL = b"\x01", b"\x03"  # an even number is twice the length of a text


def bucket_of(account: str) -> int:
    """The bucket that holds an account's notes."""
    return crc32(account.encode("utf-8", "surrogatepass")) % BUCKETS


def head_of(note: Note) -> bytes:
    """What the note shares with others about the same message and outcome."""
    is_p2p, id_ = note.conversation.startswith(_PEER), _id(note.message_id)
    flags = (_SILENT * note.silent) | (_URGENT * note.urgent) | (_P2P * is_p2p) | (0 if id_ else _TEXT_ID)
    accepted = max(note.accepted_at_ms, 0)
    return b"".join((
        bytes((VERSION, _CODES.get(note.result, 0), flags)),
        id_ or _text(note.message_id),
        accepted.to_bytes(6, "big"),
        _difference(note.sent_at_ms, accepted),
        _text(note.conversation[len(_PEER) :] if is_p2p else note.conversation),
        _place(note.app, note.channel),
        _text(note.reason) if note.reason else b"\0",
    ))  # fmt: skip


def member_of(note: Note) -> bytes:
    """What is the note's alone."""
    if not (note.planned_at_ms or note.pushed_at_ms or note.answered_at_ms or note.tries):
        return _text(note.account) + _device(note.device_id) + _NO_TIMES
    accepted = note.accepted_at_ms
    planned = note.planned_at_ms or accepted
    return b"".join((
        _text(note.account),
        _device(note.device_id),
        _difference(note.planned_at_ms, accepted),
        _difference(note.pushed_at_ms, planned),
        _difference(note.answered_at_ms, note.pushed_at_ms or planned),
        _tries(note.tries, accepted) if note.tries else b"\0",
    ))  # fmt: skip


def sign_of_message(message_id: str) -> bytes:
    """Bytes that are in each record of the message (its id shortened), and seldom in another."""
    return _id(message_id) or _text(message_id)


def sign_of_account(account: str) -> bytes:
    return _text(account)


def sign_of_device(device_id: str) -> bytes:
    return _device(device_id)


class NotesOfMessage:
    """Collects the notes of one message; those that have a head in common share a record. For thousands of readers."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, ...], bytes] = {}
        self._members: dict[tuple[int, bytes], list[bytes]] = {}

    def add(self, notes: Iterable[Note]) -> None:
        for note in notes:
            shared = note.result, note.app, note.channel, note.reason
            head = self._heads.get(shared)
            if head is None:
                head = self._heads[shared] = head_of(note)
            self._members.setdefault((bucket_of(note.account), head), []).append(member_of(note))

    def records(self) -> list[tuple[int, bytes]]:
        """Each with its bucket."""
        return [(bucket, head + b"".join(members)) for (bucket, head), members in self._members.items()]


def load_notes(record: bytes) -> Iterator[Note]:
    """Raises UnreadableRecord, after those that could be read."""
    try:
        yield from _Reading(record).notes()
    except (IndexError, ValueError, OverflowError) as error:  # the last: a year too far
        raise UnreadableRecord(f"history record: {type(error).__name__}") from None


class _Reading:
    def __init__(self, record: bytes) -> None:
        self._record, self._place = record, 0

    def notes(self) -> Iterator[Note]:
        version, code, flags = self._take(3)
        if version != VERSION:
            raise ValueError("version")
        message_id = self._text() if flags & _TEXT_ID else self._take(_ID_BYTES).hex()
        accepted = int.from_bytes(self._take(6), "big")
        sent = self._time(accepted)
        conversation = (_PEER if flags & _P2P else "") + self._text()
        app, channel = self._app_and_channel()
        reason, result = self._text(), str(_RESULTS[code]) if code < len(_RESULTS) else ""
        while self._place < len(self._record):
            account, device_id = self._text(), self._device()
            planned = self._time(accepted)
            pushed = self._time(planned or accepted)
            answered = self._time(pushed or planned or accepted)
            tries = tuple(Try(from_ms(self._time(accepted)), self._text()) for _ in range(self._number()))
            yield Note(
                message_id, conversation, accepted, sent, result, account, device_id, app, channel, reason,
                bool(flags & _SILENT), bool(flags & _URGENT), planned, pushed, answered, tries,
            )  # fmt: skip

    def _take(self, size: int) -> bytes:
        taken = self._record[self._place : self._place + size]
        if len(taken) < size:
            raise IndexError("end")
        self._place += size
        return taken

    def _number(self) -> int:
        number = shift = 0
        while True:
            byte = self._record[self._place]
            self._place += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7

    def _text(self) -> str:
        return self._take(self._number()).decode("utf-8", "replace")

    def _device(self) -> str:
        number = self._number()
        if number % 2 == 0:
            return self._take(number // 2).decode("utf-8", "replace")
        text = str(uuid.UUID(bytes=self._take(16)))
        return text if number == _UUID_SMALL[0] else text.upper()

    def _app_and_channel(self) -> tuple[str, str]:
        code = self._number()
        if code == _NO_APP:
            return "", ""
        channel = _CHANNELS[code - _FIRST_CHANNEL] if code >= _FIRST_CHANNEL else self._text()
        return self._text(), channel

    def _time(self, before: int) -> int:
        number = self._number()
        if number == 0:
            return 0
        zigzag = number - 1
        return before + (-(zigzag + 1) // 2 if zigzag % 2 else zigzag // 2)


def _id(message_id: str) -> bytes:
    if len(message_id) != 2 * _ID_BYTES:
        return b""
    try:
        raw = bytes.fromhex(message_id)
    except ValueError:
        return b""
    return raw if raw.hex() == message_id else b""


def _tries(tries: Sequence[Try], accepted_at_ms: int) -> bytes:
    told = (_difference(to_ms(it.at), accepted_at_ms) + _text(it.reason) for it in tries)
    return _number(len(tries)) + b"".join(told)


@lru_cache
def _place(app: str, channel: str) -> bytes:
    if not app:
        return _number(_NO_APP)
    if channel in _CHANNELS:
        return _number(_FIRST_CHANNEL + _CHANNELS.index(channel)) + _text(app)
    return b"\0" + _text(channel) + _text(app)


def _device(device_id: str) -> bytes:
    if not device_id:
        return b"\0"
    if len(device_id) == 36:
        try:
            raw = uuid.UUID(device_id)
        except ValueError:
            pass
        else:
            if (text := str(raw)) == device_id:
                return _UUID_SMALL + raw.bytes
            if text.upper() == device_id:
                return _UUID_CAPITAL + raw.bytes
    text_ = device_id.encode("utf-8", "surrogatepass")[:_MAX_TEXT]
    return _number(2 * len(text_)) + text_


def _difference(time_ms: int, before_ms: int) -> bytes:
    if time_ms <= 0:
        return b"\0"
    difference = time_ms - before_ms
    return _number(2 * difference + 1 if difference >= 0 else -2 * difference)


def _text(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > _MAX_TEXT:
        raw = raw[:_MAX_TEXT]
    return _number(len(raw)) + raw


def _number(number: int) -> bytes:
    if number < 16_384:  # nearly all: kept ready
        return _SMALL_NUMBERS[number]
    return _written(number)


def _written(number: int) -> bytes:
    taken = bytearray()
    while number > 127:
        taken.append(number & 127 | 128)
        number >>= 7
    taken.append(number)
    return bytes(taken)


_SMALL_NUMBERS = tuple(map(_written, range(16_384)))

"""Notes of the history as bytes. A record is a head, which notes of one message and result share, and members.

    record  bucket                            1 byte
            its head, its members             each its length in bytes before it
    head    version and flags, result         1 byte each
            message id, shortened             8 bytes (a text where it is not 16 hex digits)
            accepted at                       6 bytes, ms since 1970; of a receipt when its push was sent
            MIMC's own time                   difference to that
            conversation                      text
            channel, app                      a number (a text follows 0), a text; of no app the number is 1
            reason                            text, where a flag says so
    member  account                           text
            device id                         text; 17 bytes where it is a UUID
            planned, pushed, ended at         each the difference to the one before
            tries                             their number; of each the difference to the first time, and the reason

A number is a varint (7 bits a byte, the lowest first); a difference 0 where the time is unknown, else 1 + its zigzag
form (0, -1, 1, -2 ... as 0, 1, 2, 3 ...); a text its length in bytes and UTF-8. Every message makes a record or more
that live for 7 days, so that JSON's names alone would cost more than all of this. What is filed together is deflated.
"""

import uuid
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

from proxy.domain.callbacks import account_digest
from proxy.domain.decisions import Result
from proxy.domain.devices import APNS_SANDBOX, Platform
from proxy.domain.history import JobEnd, Note, Reason
from proxy.domain.jobs import Try
from proxy.domain.receipts import NOTED, Delivery
from proxy.domain.times import from_ms, to_ms
from proxy.store.keys import spread
from proxy.store.records import UnreadableRecord

T = TypeVar("T", bound=Hashable)

BUCKETS = 64  # of each appId; with as many shards or fewer a bucket lies in one of them, with more each has one
RECORDS, DEFLATED = b"r", b"z"  # names of an entry's only field, which say how its records lie in it
_VERSION = 1  # times _VERSIONS, beside the flags
_MAX_TEXT = 256  # bytes of a text whose length others decide
# the place is the code: add at the end alone
_RESULTS = (
    *("", Result.ACCEPTED, Result.RETRY, Result.PAUSED, Result.DEAD_LETTER, Result.SUPERSEDED, Result.BLOCKED),
    *(Result.DEVICE_MOVED, Result.DEVICE_GONE, Result.UNKNOWN_ACCOUNT, Result.IMPOSSIBLE, Result.OTHER_ENVIRONMENT),
    *(Result.SANDBOX_OFF, Reason.KIND_IS_SILENT, Reason.OWN_MESSAGE, Reason.EXPIRED, Reason.NO_DEVICE, Reason.PRESENT),
    *(Reason.MUTED, Reason.ONLINE, Reason.CHANNEL_OFF, Reason.PLANNED_BEFORE, Reason.POISON, Reason.RECALLED),
    *(Result.WITHDRAWN, Result.DROPPED, Reason.NAMES_NONE, Reason.TAKEN_BACK, Reason.NOT_TAKEN_BACK),
    *(NOTED[Delivery.DELIVERED], NOTED[Delivery.CLICKED], NOTED[Delivery.INVALID_TARGET]),
    *(NOTED[Delivery.BLOCKED_BY_USER], NOTED[Delivery.FILTERED], NOTED[Delivery.OVER_QUOTA]),
    *(NOTED[Delivery.EXPIRED], NOTED[Delivery.OTHER]),
    *(Result.FALLBACK, Reason.FOLDED, Result.DELIVERY_OFF, Result.SHADOW),
)
# the same; a channel that is not among them costs its name in each record
_CHANNELS = (Platform.APNS.value, APNS_SANDBOX, Platform.MIPUSH.value, Platform.HTTP.value)
_NO_APP, _FIRST_CHANNEL = 1, 2
_ID_BYTES = 8
_CODES = {str(result): code for code, result in enumerate(_RESULTS)}
_SILENT, _P2P, _TEXT_ID, _REASON, _RECEIPT, _VERSIONS = 1, 2, 4, 8, 16, 32
_PEER = "p2p:"
_NO_TRIES = b"\0"
_UUID_SMALL, _UUID_CAPITAL = b"\x01", b"\x03"  # an even number is twice the length of a text
_KEPT_READY = 8192  # differences up to here, in ms, which are nearly all
_WORTH_DEFLATING = 160  # bytes
_WINDOW_BITS, _MEMORY_LEVEL = -12, 5  # 4 KiB of raw deflate: setting up more costs more than it saves


def bucket_of(account: str) -> int:
    """The bucket that holds an account's notes."""
    return spread(account_digest(account)) % BUCKETS


def old_bucket_of(account: str) -> int:
    """The same in a store without shards, as an earlier program filed them."""
    return spread(account) % BUCKETS


def record_of(noted: Note | JobEnd) -> bytes:
    """One note, as plan, settle and the web hand it to the store."""
    note = noted.note if isinstance(noted, JobEnd) else noted
    bucket, whose = _whose(note.account, note.device_id)
    head, member = _head(note), whose + _course(note)
    return b"%c%b%b%b%b" % (bucket, _number(len(head)), head, _number(len(member)), member)


class NotesOfMessage:
    """Collects the notes of one message, made at the same time (ms); those with a head in common share a record.

    For thousands of readers. `shard_of` says where the notes of an account are kept.
    """

    def __init__(self, at_ms: int = 0, shard_of: Callable[[str], int] = lambda _account: 0) -> None:
        self._at_ms, self._shard_of = at_ms, shard_of
        self._heads: dict[tuple[str | int, ...], bytes] = {}
        self._members: dict[tuple[int, int, bytes], list[bytes]] = {}

    def add(self, notes: Iterable[Note]) -> None:
        for note in notes:
            at_ms = note.accepted_at_ms or note.pushed_at_ms  # a receipt's head has the time of its push
            shared = note.result, note.app, note.channel, note.reason, at_ms
            head = self._heads.get(shared)
            if head is None:
                head = self._heads[shared] = _head(note)
            note.ended_at_ms = note.ended_at_ms or self._at_ms
            bucket, whose = _whose(note.account, note.device_id)
            where = self._shard_of(note.account), bucket, head
            self._members.setdefault(where, []).append(whose + _course(note))

    def records(self) -> dict[int, bytes]:
        """By shard."""
        found: dict[int, list[bytes]] = {}
        for (shard, bucket, head), members in self._members.items():
            record = b"%c%b%b%b" % (bucket, _number(len(head)), head, _sized(members))
            found.setdefault(shard, []).append(record)
        return {shard: b"".join(parts) for shard, parts in found.items()}


def filed(records: Iterable[bytes]) -> dict[int, tuple[bytes, bytes]]:
    """The same by bucket, for an entry each: its field's name and value."""
    first, others = dict[bytes, bytes](), dict[bytes, list[bytes]]()  # by bucket and head
    for some in records:
        for start, members, end in _places(some):
            shared = some[start:members]
            if shared not in first:
                first[shared] = some[start:end]  # nearly all: as it is
            else:
                others.setdefault(shared, []).append(some[members:end])
    for shared, parts in others.items():
        first[shared] = shared + _joined([first[shared][len(shared) :], *parts])
    by_bucket: dict[int, list[bytes]] = {}
    for record in first.values():
        by_bucket.setdefault(record[0] % BUCKETS, []).append(record)
    return {bucket: _deflated(b"".join(parts)) for bucket, parts in by_bucket.items()}


def unfiled(name: bytes, value: bytes) -> bytes:
    """The records of an entry of the history. Raises UnreadableRecord."""
    if name == RECORDS:
        return value
    try:
        return zlib.decompress(value, _WINDOW_BITS)
    except zlib.error as error:
        raise UnreadableRecord(f"history entry: {type(error).__name__}") from None


def load_notes(records: bytes) -> Iterator[Note]:
    """What cannot be read of them is left out: another version of this program may have written it."""
    for start, middle, end in _places(records):
        _, head = _number_at(records, start + 1)
        _, members = _number_at(records, middle)
        try:
            yield from _Reading(records[head:middle]).notes(records[members:end])
        except (IndexError, ValueError, OverflowError):  # the last: a year too far
            continue


def divided(records: bytes, place_of: Callable[[str], T]) -> dict[T, bytes]:
    """The same records by where their accounts' notes belong. What cannot be read of them is left out."""
    found: dict[T, list[bytes]] = {}
    for start, middle, end in _places(records):
        _, head = _number_at(records, start + 1)
        parts: dict[tuple[T, int], list[bytes]] = {}
        for note in load_notes(records[start:end]):
            bucket, whose = _whose(note.account, note.device_id)
            parts.setdefault((place_of(note.account), bucket), []).append(whose + _course(note))
        for (place, bucket), members in parts.items():
            shared = b"%c%b%b" % (bucket, records[start + 1 : head], records[head:middle])
            found.setdefault(place, []).append(shared + _sized(members))
    return {place: b"".join(parts) for place, parts in found.items()}


def entry_of(records: bytes) -> tuple[bytes, bytes]:
    """Name and value of the field of an entry of the history that is filed."""
    return _deflated(records)


def sign_of_message(message_id: str) -> bytes:
    """Bytes that are in each record of the message (its id shortened), and seldom in another."""
    return _id(message_id) or _text(message_id)


def sign_of_account(account: str) -> bytes:
    return _text(account)


def sign_of_device(device_id: str) -> bytes:
    return _device(device_id)


def sign_of_conversation(conversation: str) -> bytes:
    return _text(conversation.removeprefix(_PEER))


def _places(records: bytes) -> Iterator[tuple[int, int, int]]:
    """Of each record that is whole: where it begins, where its members begin with their length, and its end."""
    place, end = 0, len(records)
    try:
        while place < end:
            size = records[place + 1]
            middle = place + 2 + size if size < 128 else sum(_number_at(records, place + 1))
            rest = records[middle]
            after = middle + 1 + rest if rest < 128 else sum(_number_at(records, middle))
            if after > end:
                return
            yield place, middle, after
            place = after
    except IndexError:
        return


def _joined(sized: Sequence[bytes]) -> bytes:
    """The members of records that come together, their lengths before them."""
    return _sized([one[_number_at(one, 0)[1] :] for one in sized])


def _sized(members: Sequence[bytes]) -> bytes:
    whole = b"".join(members)
    return _number(len(whole)) + whole


def _number_at(raw: bytes, place: int) -> tuple[int, int]:
    """A number, and the place after it."""
    byte = raw[place]
    if byte < 128:
        return byte, place + 1
    number, shift = byte & 127, 7
    while True:
        place += 1
        byte = raw[place]
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place + 1
        shift += 7


def _deflated(records: bytes) -> tuple[bytes, bytes]:
    if len(records) < _WORTH_DEFLATING:
        return RECORDS, records
    packer = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
    packed = packer.compress(records) + packer.flush()
    return (DEFLATED, packed) if len(packed) < len(records) else (RECORDS, records)


def _head(note: Note) -> bytes:
    """What the note shares with others about the same message and outcome."""
    message_id, reason, accepted = note.message_id, note.reason, note.accepted_at_ms
    flags, where = _where(note.conversation, note.app, note.channel)
    if note.silent:
        flags |= _SILENT
    if not (id_ := _id(message_id)):
        flags |= _TEXT_ID
        id_ = _text(message_id)
    if accepted <= 0:
        flags |= _RECEIPT
        accepted = note.pushed_at_ms
    code, at, sent = _CODES.get(note.result, 0), accepted.to_bytes(6, "big"), _difference(note.sent_at_ms, accepted)
    if not reason:
        return b"%c%c%b%b%b%b" % (flags, code, id_, at, sent, where)
    return b"%c%c%b%b%b%b%b" % (flags | _REASON, code, id_, at, sent, where, _text(reason))


@lru_cache(4096)  # of those who talk just now
def _where(conversation: str, app: str, channel: str) -> tuple[int, bytes]:
    """A head's flags so far, and its conversation, channel and app."""
    is_p2p = conversation.startswith(_PEER)
    told = _text(conversation[len(_PEER) :] if is_p2p else conversation) + _place(app, channel)
    return _VERSION * _VERSIONS | (_P2P if is_p2p else 0), told


@lru_cache(4096)
def _whose(account: str, device_id: str) -> tuple[int, bytes]:
    """A member's bucket, and its account and device."""
    return bucket_of(account), _text(account) + _device(device_id)


def _course(note: Note) -> bytes:
    """A member's times and tries."""
    accepted, pushed = note.accepted_at_ms, note.pushed_at_ms
    if accepted <= 0:
        accepted, pushed = pushed, 0
    planned, ended, tries = note.planned_at_ms, note.ended_at_ms, note.tries
    before = planned or accepted
    if 0 < accepted <= planned <= pushed <= ended < accepted + _KEPT_READY and not tries:  # nearly all
        first, second = _SMALL_NUMBERS[2 * (planned - accepted) + 1], _SMALL_NUMBERS[2 * (pushed - planned) + 1]
        return b"%b%b%b\0" % (first, second, _SMALL_NUMBERS[2 * (ended - pushed) + 1])
    return b"%b%b%b%b" % (
        _difference(planned, accepted),
        _difference(pushed, before),
        _difference(ended, pushed or before),
        _tries(tries, accepted) if tries else _NO_TRIES,
    )


class _Reading:
    def __init__(self, raw: bytes) -> None:
        self._raw, self._place = raw, 0

    def notes(self, members: bytes) -> Iterator[Note]:
        """What was written so far is a head. Of members that end too early those before are notes."""
        flags, code = self._take(2)
        if flags // _VERSIONS != _VERSION:
            raise ValueError("version")
        message_id = self._text() if flags & _TEXT_ID else self._take(_ID_BYTES).hex()
        accepted = int.from_bytes(self._take(6), "big")
        sent = self._time(accepted)
        conversation = (_PEER if flags & _P2P else "") + self._text()
        app, channel = self._app_and_channel()
        reason, result = self._text() if flags & _REASON else "", str(_RESULTS[code]) if code < len(_RESULTS) else ""
        is_receipt = flags & _RECEIPT
        self._raw, self._place = members, 0
        while self._place < len(self._raw):
            account, device_id = self._text(), self._device()
            planned = self._time(accepted)
            pushed = self._time(planned or accepted)
            ended = self._time(pushed or planned or accepted)
            tries = tuple(Try(from_ms(self._time(accepted)), self._text()) for _ in range(self._number()))
            yield Note(
                message_id, conversation, 0 if is_receipt else accepted, sent, result, account, device_id, app, channel,
                reason, bool(flags & _SILENT), planned, accepted if is_receipt else pushed, ended, tries,
            )  # fmt: skip

    def _take(self, size: int) -> bytes:
        taken = self._raw[self._place : self._place + size]
        if len(taken) < size:
            raise IndexError("end")
        self._place += size
        return taken

    def _number(self) -> int:
        number, self._place = _number_at(self._raw, self._place)
        return number

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


def _place(app: str, channel: str) -> bytes:
    if not app:
        return _number(_NO_APP)
    if channel in _CHANNELS:
        return _number(_FIRST_CHANNEL + _CHANNELS.index(channel)) + _text(app)
    return b"\0" + _text(channel) + _text(app)


def _device(device_id: str) -> bytes:
    if not device_id:
        return b"\0"
    if len(device_id) == 36 and (packed := _uuid(device_id)):
        return packed
    text = device_id.encode("utf-8", "surrogatepass")[:_MAX_TEXT]
    return _number(2 * len(text)) + text


def _uuid(text: str) -> bytes:
    """In canonical form, with small or capital letters; else b""."""
    digits = text.replace("-", "")
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return b""
    if text != f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}" or len(raw) != 16:
        return b""
    small = raw.hex()
    if digits == small:
        return _UUID_SMALL + raw
    return _UUID_CAPITAL + raw if digits == small.upper() else b""


def _difference(time_ms: int, before_ms: int) -> bytes:
    if time_ms <= 0:
        return b"\0"
    difference = time_ms - before_ms
    if 0 <= difference < _KEPT_READY:
        return _SMALL_NUMBERS[2 * difference + 1]
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

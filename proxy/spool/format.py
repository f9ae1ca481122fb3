"""How callbacks lie in a spool file: one record after the other, each recognised by itself.

    marker  4  waiting, or done: rewritten in place once the store has it
    length  4  of the body, big-endian
    digest 12  of the body, BLAKE2b
    check   4  of length and digest, CRC-32: tells a wrong length from a record that is not all there
    body       the callback's id, 32 hex digits, and its record as it will lie in the store

A body is UTF-8, in which the markers' first byte never occurs. Another format gets another suffix, so that a program
leaves alone what it does not know.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from zlib import crc32

SUFFIX = ".spool"
WAITING, DONE = b"\xffwt\n", b"\xffok\n"  # two bytes apart: no single wrong byte makes one of the other
_MARKERS = (WAITING, DONE)
_HEAD = struct.Struct(">4sI12sI")
_CHECKED = slice(4, 20)
_ID = 32


@dataclass(frozen=True)
class Record:
    """A whole one, at these bytes of the file. `done`: the store has it."""

    start: int
    end: int
    callback_id: str
    body: bytes = field(repr=False)
    done: bool


@dataclass(frozen=True)
class Damage:
    """Bytes that were a record once, or never."""

    start: int
    end: int


@dataclass(frozen=True)
class CutOff:
    """The last record is not all there: its writer ended, and never answered for it."""

    start: int
    end: int


def dump(callback_id: str, record: bytes) -> bytes:
    """What is appended to a file, in one write."""
    body = callback_id.encode() + record
    head = _HEAD.pack(WAITING, len(body), _digest(body), 0)
    return head[:20] + struct.pack(">I", crc32(head[_CHECKED])) + body


def walk(data: bytes) -> Iterator[Record | Damage | CutOff]:
    """All that a file holds, in order; any bytes are walked to their end."""
    at = 0
    while at < len(data):
        record = _record(data, at)
        if record is None:
            following = _next(data, at + 1)
            yield CutOff(at, following) if _is_cut_off(data, at, following) else Damage(at, following)
            at = following
        else:
            yield record
            at = record.end


def _record(data: bytes, at: int) -> Record | None:
    length = _length(data, at)
    if length is None:
        return None
    start, end = at + _HEAD.size, at + _HEAD.size + length
    body = data[start:end]
    if len(body) < length or _digest(body) != data[at + 8 : at + 20]:
        return None
    callback_id = body[:_ID].decode("ascii", "replace")
    return Record(at, end, callback_id, body[_ID:], done=data.startswith(DONE, at))


def _length(data: bytes, at: int) -> int | None:
    """The body's, None where no head is to be believed."""
    if not data.startswith(_MARKERS, at) or len(data) - at < _HEAD.size:
        return None
    _, length, _, check = _HEAD.unpack_from(data, at)
    return int(length) if check == crc32(data[at + 4 : at + 20]) else None


def _next(data: bytes, at: int) -> int:
    """Where the next whole record begins, else the end."""
    while (at := data.find(WAITING[:1], at)) >= 0:
        if _record(data, at):
            return at
        at += 1
    return len(data)


def _is_cut_off(data: bytes, at: int, following: int) -> bool:
    if following < len(data):
        return False
    if len(data) - at < _HEAD.size:
        return data[at : at + 4] == WAITING[: len(data) - at]
    length = _length(data, at)
    return length is not None and at + _HEAD.size + length > len(data)


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=12).digest()

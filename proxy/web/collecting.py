"""The bytes of one connection, until they are a whole request. No socket and no clock here.

gunicorn's own parser reads the head and so says where the body ends. Only the end of a chunked body is found here,
since gunicorn's reader cannot stop in the middle and go on later; `decode_body` then lets it read what was found. Where
the two do not end at the same byte the answer is 400 and the connection ends, so that a proxy in front of us and we
never take different bytes for the next request.
"""

import io
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from gunicorn.http import Request, errors  # type: ignore[import-untyped]  # gunicorn has no types
from gunicorn.http.body import ChunkedReader  # type: ignore[import-untyped]
from gunicorn.http.unreader import Unreader  # type: ignore[import-untyped]

_LONGEST_HEAD = 32 * 1024  # what nginx takes too
_LONGEST_LINE = 1024  # of a chunk's size, with its extensions
_OF_CALLBACKS = b"POST /callbacks/"
_LONGEST_KEPT = 1024  # of 256 heads
_CHUNKING = 64 * 1024  # all bytes of a chunked body that are not content: a body in thousands of chunks costs CPU
_HEX = frozenset(b"0123456789abcdefABCDEF")


class BodyTooLong(errors.ParseException):  # type: ignore[misc]
    """413: the body is longer than any route takes that its path may lead to."""


class EndsElsewhere(errors.ParseException):  # type: ignore[misc]
    """400: gunicorn's parser does not end where we do."""


class Collector:
    """Give it what was read with `add`; it gives back each request once it is whole, then begins with the next one.

    `longest_body` says for a request's head how many bytes of content are read at most.
    """

    __slots__ = ("_cfg", "_chunks", "_client", "_end", "_held", "_longest_body", "_request", "_searched", "_start")

    def __init__(self, cfg: Any, client: Any, longest_body: Callable[[Any], int]) -> None:
        self._cfg, self._client, self._longest_body = cfg, client, longest_body
        self._held: bytes | bytearray = b""
        self._begin()

    @property
    def size(self) -> int:
        """How many bytes wait here."""
        return len(self._held)

    def add(self, data: bytes) -> Any | None:
        """gunicorn's Request once it is whole, else None. Raises gunicorn's ParseException.

        Call it with b"" for a request that came together with the one before.
        """
        if not self._held:
            self._held = data
        else:
            if isinstance(self._held, bytes):
                self._held = bytearray(self._held)
            self._held += data
        if self._request is None and not self._read_head():
            return None
        end = self._chunks.find_end(self._held) if self._chunks else self._end
        if end is None or len(self._held) < end:
            return None
        return self._take(end)

    def end(self) -> None:
        """Nothing more will come. Raises the ParseException that says what is wrong with what is here."""
        if self._request is None:
            self._judge_head()
        raise EndsElsewhere

    def forget(self) -> None:
        """Lets go of the bytes and of whoever waits for them; nothing is added any more."""
        self._held, self._longest_body = b"", _nothing
        self._begin()

    def take_expectation(self) -> bool:
        """Does the caller wait for "100 Continue" before the body? True once."""
        expected = self._request is not None and self._request._expected_100_continue
        if expected:
            self._request._expected_100_continue = False
        return expected

    def _begin(self) -> None:
        self._request: Any = None
        self._chunks: _Chunks | None = None
        self._start = self._end = self._searched = 0

    def _read_head(self) -> bool:
        held = self._held
        end = held.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            new = held[max(0, self._searched - 1) :]
            is_lone = new.count(b"\n", 1 if self._searched else 0) != new.count(b"\r\n")
            self._searched = len(held)
            if len(held) > _LONGEST_HEAD:
                with suppress(EndsElsewhere):
                    self._judge_head()
                raise errors.LimitRequestHeaders("the head is too long")
            if is_lone:  # a line feed without a carriage return: the head will never end
                self.end()
            return False
        request = _parsed(self._cfg, bytes(held[: end + 4]), self._client)
        self._start, self._request = end + 4, request
        most, reader = self._longest_body(request), request.body.reader
        if isinstance(reader, ChunkedReader):
            self._chunks = _Chunks(self._start, most)
        elif reader.length > most:
            raise BodyTooLong
        else:
            self._end = self._start + reader.length
        return True

    def _judge_head(self) -> None:
        """gunicorn knows best what is wrong with a head. Raises EndsElsewhere where only its end is missing."""
        Request(self._cfg, _Given(bytes(self._held)), self._client)

    def _take(self, end: int) -> Any:
        request, body = self._request, bytes(self._held[self._start : end])
        if self._chunks:
            request.unreader.unread(body)
        else:
            request.body = io.BytesIO(body)
        request._expected_100_continue = False  # it has sent the body already
        self._held = bytes(self._held[end:])
        self._begin()
        return request


class _Request(Request):  # type: ignore[misc]
    def _peer_is_trusted_proxy(self) -> bool:
        # gunicorn would read the peer's address for each request, to look for it among those that are named
        return bool(self.cfg.forwarded_allow_ips or not isinstance(self.peer_addr, tuple)) and bool(
            super()._peer_is_trusted_proxy()
        )


def _parsed(cfg: Any, head: bytes, client: Any) -> Any:
    """gunicorn's Request, with its body still to come. Raises ParseException.

    On kept connections the same few heads come again and again, which differ in Content-Length alone. Only those of
    callbacks are kept: they name no user and hold no user's secret.
    """
    if not head.startswith(_OF_CALLBACKS) or len(head) > _LONGEST_KEPT or cfg.forwarded_allow_ips:
        return _parse(cfg, head, client)
    known = _parse_once(cfg, head, () if isinstance(client, tuple) else client)
    if isinstance(known.body.reader, ChunkedReader):  # it reads on from where the head ends
        return _parse(cfg, head, client)
    request: Any = object.__new__(_Request)
    vars(request).update(vars(known), peer_addr=client, remote_addr=client)
    return request


@lru_cache(maxsize=256)
def _parse_once(cfg: Any, head: bytes, peer: Any) -> Any:
    return _parse(cfg, head, peer)


def _parse(cfg: Any, head: bytes, client: Any) -> Any:
    unreader = _Given(head)
    request = _Request(cfg, unreader, client)
    if unreader.take_buffered():
        raise EndsElsewhere
    return request


def _nothing(_: Any) -> int:
    return 0


def decode_body(request: Any) -> None:
    """Makes `body` the plain content of a chunked request. Raises ParseException."""
    if isinstance(request.body, io.BytesIO):
        return
    content = request.body.read()
    if request.unreader.take_buffered():
        raise EndsElsewhere
    request.body = io.BytesIO(content)


class _Given(Unreader):  # type: ignore[misc]
    """Bytes that are there already. Whoever asks for more has not ended where we have."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    def chunk(self, size_hint: int | None = None) -> bytes:  # noqa: ARG002  the signature is gunicorn's
        data, self._data = self._data, b""
        if not data:
            raise EndsElsewhere
        return data


class _Chunks:
    """Where a chunked body ends: RFC 9112, 7.1. It goes on where it stopped when more bytes have come."""

    def __init__(self, start: int, most: int) -> None:
        self._at = self._searched = start  # the line that comes next
        self._most = most
        self._content = self._chunking = 0
        self._is_after_content = self._is_in_trailer = False

    def find_end(self, held: bytes | bytearray) -> int | None:
        """The place after the last byte, None while it has not come."""
        while not self._is_in_trailer:
            if self._is_after_content and held[self._at - 2 : self._at] not in (b"", b"\r", b"\r\n"):
                raise errors.ChunkMissingTerminator(b"")
            end = held.find(b"\r\n", self._searched)
            if end < 0:
                self._wait(held, 1)
                return None
            self._pass_line(held[self._at : end], end + 2)
        if held[self._at : self._at + 2] == b"\r\n":
            return self._at + 2
        end = held.find(b"\r\n\r\n", self._searched)
        if end < 0:
            self._wait(held, 3)
            return None
        return end + 4

    def _wait(self, held: bytes | bytearray, overlap: int) -> None:
        if len(held) - self._at > (_LONGEST_HEAD if self._is_in_trailer else _LONGEST_LINE):
            raise errors.InvalidChunkSize(b"")
        self._searched = max(self._at, len(held) - overlap)

    def _pass_line(self, line: bytes | bytearray, after: int) -> None:
        digits = line.partition(b";")[0].rstrip(b" \t")
        if not digits or not _HEX.issuperset(digits):
            raise errors.InvalidChunkSize(b"")
        size = int(digits, 16) if len(digits) <= 16 else self._most + 1
        self._content += size
        self._chunking += len(line) + 4
        if self._content > self._most or self._chunking > _CHUNKING:
            raise BodyTooLong
        self._is_in_trailer = size == 0
        self._is_after_content = size != 0
        self._at = self._searched = after + (size + 2 if size else 0)

"""An APNs at its cheapest: takes HTTP/2 frames apart and answers each push 200 with bytes made beforehand.

    python -m tests.bench.sink TLS_FOLDER

The emulated APNs judges each push and is slower than the worker; this one checks nothing, so that it is never the
limit. It announces itself as the emulators do, in one line of JSON. Its control port takes one JSON object a line and
answers with one: {"do": "begin", "delay_ms": n} forgets what came before, {"do": "count"} says how many pushes came,
{"do": "pushes"} gives them all as [monotonic ns, body].
"""

import asyncio
import json
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from proxy.emulators.certificates import ensure_certificates

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME = struct.Struct(">HBBBL")  # length in two parts, type, flags, stream
# RFC 9113, section 6
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_ACK = _END_STREAM = 1
_STREAMS, _WINDOW = 1000, 1 << 30


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _FRAME.pack(len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


_HELLO = _frame(_SETTINGS, 0, 0, struct.pack(">HL", 3, _STREAMS)) + _frame(
    _WINDOW_UPDATE, 0, 0, struct.pack(">L", _WINDOW)
)
_SETTINGS_ACK = _frame(_SETTINGS, _ACK, 0)
_ACCEPTED = _frame(_HEADERS, 4 | _END_STREAM, 0, b"\x88")  # ":status: 200" of HPACK's static table
_UP_TO_STREAM, _AFTER_STREAM = _ACCEPTED[:5], _ACCEPTED[9:]


class Sink:
    """What all connections share."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.pushes: list[tuple[int, bytes]] = []

    def obey(self, order: Mapping[str, Any]) -> object:
        match order["do"]:
            case "begin":
                self.delay_s = order["delay_ms"] / 1000
                self.pushes = []
                return {}
            case "count":
                return len(self.pushes)
            case "pushes":
                return [(came_ns, body.decode("utf-8", "replace")) for came_ns, body in self.pushes]
            case other:
                raise ValueError(other)


class _Connection(asyncio.Protocol):
    _transport: asyncio.Transport

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._to_come = len(_PREFACE)
        self._bodies: dict[int, bytes] = {}
        self._window = _WINDOW

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_HELLO)

    def data_received(self, data: bytes) -> None:
        came_ns = time.monotonic_ns()
        data = self._rest + data
        at, end = min(self._to_come, len(data)), len(data)
        self._to_come -= at
        answers, at_once = bytearray(), bytearray()
        while at + 9 <= end:
            high, low, kind, flags, stream = _FRAME.unpack_from(data, at)
            begin = at + 9
            after = begin + (high << 8 | low)
            if after > end:
                break
            at = after
            if kind == _DATA:
                self._window -= after - begin
                self._bodies[stream] = self._bodies.get(stream, b"") + data[begin:after]
            elif kind == _SETTINGS and not flags & _ACK:
                at_once += _SETTINGS_ACK
            elif kind == _PING and not flags & _ACK:
                at_once += _frame(_PING, _ACK, 0, data[begin:after])
            if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                self._sink.pushes.append((came_ns, self._bodies.pop(stream, b"")))
                answers += _UP_TO_STREAM + stream.to_bytes(4) + _AFTER_STREAM
        self._rest = data[at:]
        if self._window < _WINDOW // 2:
            at_once += _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">L", _WINDOW - self._window))
            self._window = _WINDOW
        if answers and self._sink.delay_s:
            self._loop.call_later(self._sink.delay_s, self._write, bytes(answers))
        else:
            at_once += answers
        self._write(bytes(at_once))

    def _write(self, some: bytes) -> None:
        if some and not self._transport.is_closing():
            self._transport.write(some)


async def _serve(tls_folder: Path) -> None:
    loop, stop, sink = asyncio.get_running_loop(), asyncio.Event(), Sink()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # at the end, where the other side has not closed it
            while line := await reader.readline():
                writer.write(json.dumps(sink.obey(json.loads(line))).encode() + b"\n")
                await writer.drain()
            writer.close()

    certificates = ensure_certificates(tls_folder)
    pushes = await loop.create_server(
        lambda: _Connection(sink), "127.0.0.1", 0, ssl=certificates.server_context(["h2"]), ssl_shutdown_timeout=1
    )
    orders = await asyncio.start_server(control, "127.0.0.1", 0)
    facts = {
        "emulator": "apns", "port": pushes.sockets[0].getsockname()[1],
        "control_port": orders.sockets[0].getsockname()[1], "ca_file": str(certificates.ca_file.resolve()),
    }  # fmt: skip
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
    await stop.wait()


class SinkControl:
    """The other end of the control port."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._answers = self._socket.makefile("rb")

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def begin(self, delay_ms: int) -> None:
        self._ask(do="begin", delay_ms=delay_ms)

    def count(self) -> int:
        found: int = self._ask(do="count")
        return found

    def pushes(self) -> list[tuple[int, str]]:
        """Monotonic ns and body of each, in order."""
        return [(came_ns, body) for came_ns, body in self._ask(do="pushes")]

    def _ask(self, **order: Any) -> Any:
        self._socket.sendall(json.dumps(order).encode() + b"\n")
        return json.loads(self._answers.readline())


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))

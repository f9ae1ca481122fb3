"""One client's connection: frames in, judgements and faults, frames out."""

import asyncio
import socket
import struct
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from typing import Any

import h2.errors
import h2.events
import h2.exceptions

from proxy.emulators.apns.answers import STATUS_OF, Answer
from proxy.emulators.apns.http2 import LIMIT, Http2, goaway_frame, read_request
from proxy.emulators.apns.limits import Admission, StreamLimit
from proxy.emulators.apns.rules import Judgement
from proxy.emulators.apns.shared import CONNECTION_EFFECTS, Shared
from proxy.emulators.apns.streams import Stream
from proxy.emulators.control import Fault

_ERROR = h2.errors.ErrorCodes


class ApnsConnection(asyncio.Protocol):
    """Speaks HTTP/2 with one client; every push ends in the journal, answered or not.

    It is silent (reads and answers nothing more), draining (a GOAWAY is out) or ended, or none of these.
    """

    _transport: asyncio.Transport

    def __init__(self, shared: Shared, connections: set["ApnsConnection"]) -> None:
        config = shared.config
        self._shared, self._connections = shared, connections
        self._loop = asyncio.get_running_loop()
        self._limit = StreamLimit(
            config.initial_streams, config.raised_streams, config.excess, shared.faults.stream_limit
        )
        self._h2 = Http2(self._limit.current)
        self._number = self._peer_port = 0
        self._open: dict[int, Stream] = {}
        self._team_id: str | None = None
        self._held = self._silent = self._ended = self._flush_due = False
        self._last_stream_id: int | None = None
        self._newest_stream_id = self._refused_cold = 0
        self._handlers: Mapping[type[h2.events.Event], Callable[[Any], None]] = {
            h2.events.RequestReceived: self._begin,
            h2.events.DataReceived: self._collect,
            h2.events.StreamEnded: self._complete,
            h2.events.StreamReset: self._forget,
            h2.events.WindowUpdated: lambda _: self._continue_bodies(),
            h2.events.RemoteSettingsChanged: lambda _: self._continue_bodies(),  # perhaps the initial window
            h2.events.SettingsAcknowledged: lambda _: self._limit.acknowledge(),
            h2.events.ConnectionTerminated: lambda _: self._close("connection lost"),
        }

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  asyncio promises a transport of this kind
        self._transport = transport
        self._shared.counted["connections"] += 1
        self._number = self._shared.counted["connections"]
        self._peer_port = transport.get_extra_info("peername")[1]
        self._connections.add(self)
        if delay_ms := self._shared.config.settings_delay_ms:
            self._held = True
            self._loop.call_later(delay_ms / 1000, self._release)
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._silent or self._ended:
            return
        try:
            for event in self._h2.receive_data(data):
                handler = self._handlers.get(type(event))
                if handler and not self._silent and not self._ended:
                    handler(event)
        except h2.exceptions.ProtocolError:
            # h2 has put a GOAWAY with the error's code into what is to be sent
            self._shared.counted["protocol_errors"] += 1
            self._close("protocol error")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  how it was lost does not matter
        self._ended = True
        self._abandon("connection lost")
        self._connections.discard(self)

    # from frames to a request

    def _begin(self, event: h2.events.RequestReceived) -> None:
        stream_id, counted = event.stream_id, self._shared.counted
        self._newest_stream_id = stream_id
        if self._last_stream_id is not None and stream_id > self._last_stream_id:
            counted["arrivals_above_last_stream_id"] += 1
            return
        streams_open = len(self._open) + 1
        if not self._limit.warm:
            # those refused count too: a burst into a cold connection is what this figure is there to show
            name = "most_streams_before_first_good_answer"
            counted[name] = max(counted[name], streams_open + self._refused_cold)
        if self._admit(stream_id, streams_open):
            self._open[stream_id] = Stream(stream_id, event.headers, streams_open)

    def _admit(self, stream_id: int, streams_open: int) -> bool:
        """Whether a stream is served; if not, it has been refused."""
        verdict = self._limit.admit(streams_open)
        if verdict is Admission.WITHIN:
            return True
        self._shared.counted["streams_over_limit"] += 1
        self._shared.counted["streams_over_acknowledged_limit"] += self._limit.exceeds_acknowledged(streams_open)
        if verdict is Admission.SENT_AWAY:
            self._go_away(max(stream_id - 2, 0), _ERROR.PROTOCOL_ERROR, "maximum active streams violated")
        elif verdict is Admission.REFUSED:
            self._refused_cold += not self._limit.warm
            self._send_reset(stream_id, _ERROR.REFUSED_STREAM)
        return verdict is Admission.TOLERATED

    def _collect(self, event: h2.events.DataReceived) -> None:
        # without it the client stalls once 65535 bytes have come
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if stream := self._open.get(event.stream_id):
            stream.collect(event.data)

    def _complete(self, event: h2.events.StreamEnded) -> None:
        stream = self._open.get(event.stream_id)
        if stream is None:
            return
        stream.came_ms = time.monotonic_ns() // 1_000_000
        stream.request = read_request(stream.headers, bytes(stream.body))
        stream.judgement = self._shared.judge(stream.request, self._team_id)
        self._team_id = stream.judgement.team_id or self._team_id
        # faults hit only what is otherwise in order: a client's own mistake is never hidden by one
        accepted = stream.judgement.answer.status == 200
        fault = self._shared.faults.for_push(stream.request.device_token.lower()) if accepted else None
        if fault is None:
            self._answer_later(stream, self._shared.config.delay_ms)
        else:
            stream.fault = fault.effect
            self._apply_fault(stream, stream.judgement, fault)

    def _forget(self, event: h2.events.StreamReset) -> None:
        if stream := self._open.get(event.stream_id):
            self._drop(stream, "stream reset by the client")

    # from a request to an answer

    def _apply_fault(self, stream: Stream, judgement: Judgement, fault: Fault) -> None:
        match fault.effect:
            case "answer":
                status = fault.status or STATUS_OF.get(fault.reason or "", 500)
                stream.judgement = judgement._replace(
                    answer=Answer(status, fault.reason, fault.code, fault.retry_after)
                )
            case "no_body_503":
                stream.judgement = judgement._replace(answer=Answer(503, retry_after=fault.retry_after))
            case "silence":
                self._write_journal(stream, "silence")
                return  # it stays open, and counts as open, until the client gives up
            case "rst_stream":
                self._reset_stream(stream, judgement, fault.code)
            case effect if effect in CONNECTION_EFFECTS:
                self.hit(fault)
        if stream.stream_id in self._open:
            self._answer_later(stream, self._shared.config.delay_ms if fault.delay_ms is None else fault.delay_ms)

    def _answer_later(self, stream: Stream, delay_ms: int) -> None:
        if delay_ms:
            stream.timer = self._loop.call_later(delay_ms / 1000, self._answer, stream)
        else:
            self._answer(stream)

    def _answer(self, stream: Stream) -> None:
        judgement = stream.judgement
        assert judgement is not None  # noqa: S101  only complete requests get here
        answer, body = judgement.answer, judgement.answer.body()
        headers = [(b":status", b"%d" % answer.status), (b"apns-id", judgement.apns_id.encode())]
        headers.append((b"date", _date(int(self._shared.now()))))
        if answer.retry_after is not None:
            headers.append((b"retry-after", answer.retry_after.encode("latin-1", "replace")))
        if self._shared.config.environment == "sandbox":
            headers.append((b"apns-unique-id", str(uuid.uuid4()).encode()))
        try:
            self._h2.send_headers(stream.stream_id, headers, end_stream=not body)
        except h2.exceptions.ProtocolError:  # closed meanwhile
            self._drop(stream, "stream closed")
        else:
            stream.unsent = body
            self._send_body(stream)
        if answer.status == 200 and not self._limit.warm:
            self._limit.warm_up()
            self.adjust_limit()
        self._flush_soon()

    def _send_body(self, stream: Stream) -> None:
        """Send what the client's flow-control window has room for; the stream ends with the last byte."""
        try:
            while stream.unsent:
                window = self._h2.local_flow_control_window(stream.stream_id)
                room = min(window, self._h2.max_outbound_frame_size)
                if room <= 0:
                    return
                part, stream.unsent = stream.unsent[:room], stream.unsent[room:]
                self._h2.send_data(stream.stream_id, part, end_stream=not stream.unsent)
        except h2.exceptions.ProtocolError:  # closed meanwhile
            self._drop(stream, "stream closed")
        else:
            self._drop(stream, lost=None)

    def _continue_bodies(self) -> None:
        for stream in [stream for stream in self._open.values() if stream.unsent]:
            self._send_body(stream)

    def _reset_stream(self, stream: Stream, judgement: Judgement, code: int | None) -> None:
        code = _ERROR.INTERNAL_ERROR if code is None else code
        if code == _ERROR.REFUSED_STREAM:  # which promises that nothing was done (RFC 9113, 8.7)
            stream.judgement = judgement._replace(answer=Answer(0, "REFUSED_STREAM"))
        self._send_reset(stream.stream_id, code)
        self._drop(stream, "rst_stream")

    def _send_reset(self, stream_id: int, code: int) -> None:
        with suppress(h2.exceptions.StreamClosedError):  # the client's own reset may follow in the same bytes
            self._h2.reset_stream(stream_id, code)

    # from a stream to the journal

    def _drop(self, stream: Stream, lost: str | None) -> None:
        if self._open.pop(stream.stream_id, None) is None:
            return
        stream.stop_timer()
        self._write_journal(stream, lost)
        if self._last_stream_id is not None and not self._open:
            self._loop.call_soon(self._close)  # not before the answer just made has been written

    def _abandon(self, lost: str) -> None:
        """Answer nothing more: what was accepted stays accepted, and its sender gets no answer."""
        for stream in list(self._open.values()):
            self._drop(stream, lost)

    def _write_journal(self, stream: Stream, lost: str | None) -> None:
        if entry := stream.entry(lost):
            self._shared.journal.write(connection=self._number, peer_port=self._peer_port, **entry)

    # the connection as a whole; the control server calls these on the loop's thread

    def hit(self, fault: Fault) -> None:
        """Apply a fault to the whole connection: go silent, reset, go away or close."""
        match fault.effect:
            case "silent_connection":
                self._flush()  # what the journal calls answered has left
                self._abandon("silent_connection")
                self._silent = True
                self._transport.pause_reading()
            case "reset":
                self._reset()
            case "goaway":
                self._go_away(self._below_newest(fault.code or 0), _ERROR.NO_ERROR, fault.reason)
            case "close":
                self._close()

    def adjust_limit(self) -> None:
        """Announce the stream limit that now holds, where it is another than before."""
        if self._silent or self._ended or self._last_stream_id is not None:
            return
        changed = self._limit.change(self._shared.faults.stream_limit)
        if changed is not None:
            self._h2.update_settings({LIMIT: changed})
            self._flush_soon()

    def facts(self) -> dict[str, int | bool | None]:
        return {
            "connection": self._number,
            "streams_open": len(self._open),
            "stream_limit": self._limit.current,
            "stream_limit_acknowledged": self._limit.acknowledged,
            "silent": self._silent,
        }

    def abort(self) -> None:
        self._transport.abort()

    def _below_newest(self, count: int) -> int:
        """The stream id below the `count` newest streams, as far as they are still open and next to each other."""
        last = self._newest_stream_id
        while count and last in self._open:
            last, count = last - 2, count - 1
        return max(last, 0)

    def _go_away(self, last_stream_id: int, code: int, reason: str | None) -> None:
        """Streams above `last_stream_id` never happened; the others are answered, then the connection closes."""
        if self._silent or self._ended or self._last_stream_id is not None:
            return
        self._flush()
        self._last_stream_id = last_stream_id
        for stream_id in [stream_id for stream_id in self._open if stream_id > last_stream_id]:
            self._open.pop(stream_id).stop_timer()
            self._shared.counted["streams_dropped_by_goaway"] += 1
        self._transport.write(goaway_frame(last_stream_id, code, Answer(0, reason).body()))
        if not self._open:
            self._loop.call_soon(self._close)

    def _close(self, lost: str = "closed") -> None:
        """Close without GOAWAY; what h2 itself still has to send goes out before."""
        if not self._ended:
            self._flush()
            self._ended = True
            self._abandon(lost)
            self._transport.close()

    def _reset(self) -> None:
        self._flush()
        self._ended = True
        self._abandon("reset")
        if peer := self._transport.get_extra_info("socket"):  # none where its client has just gone
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _release(self) -> None:
        self._held = False
        self._flush()

    def _flush_soon(self) -> None:
        """One write for all answers of one turn of the loop."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._held or self._silent or self._ended:
            return
        if data := self._h2.data_to_send():
            self._transport.write(data)


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()

"""One client's connection: frames in, judgements and faults, frames out."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from proxy.emulators.apns.answers import STATUS_OF, Answer
from proxy.emulators.apns.rules import Judgement, PushRequest
from proxy.emulators.apns.shared import CONNECTION_EFFECTS, Shared
from proxy.emulators.control import Fault

_LIMIT = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
# what APNs was seen to announce
_SETTINGS = {
    h2.settings.SettingCodes.HEADER_TABLE_SIZE: 4096,
    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 65535,
    h2.settings.SettingCodes.MAX_FRAME_SIZE: 16384,
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 8000,
}
# no payload may be larger; what comes beyond it is not kept
_BODY_KEPT = 8192


class _Settings(h2.settings.Settings):
    """h2 ends the connection at the first stream over the limit, acknowledged or not: we count for ourselves."""

    @property
    def max_concurrent_streams(self) -> int:
        return 2**31

    @max_concurrent_streams.setter
    def max_concurrent_streams(self, value: int) -> None:
        self[_LIMIT] = value


class _H2(h2.connection.H2Connection):
    """h2 walks over all streams at each request, to count them and to forget the closed; now and then is enough."""

    _asked = 0

    @property
    def open_inbound_streams(self) -> int:
        self._asked += 1
        return super().open_inbound_streams if self._asked % 100 == 0 else 0


@dataclass(eq=False)
class _Stream:
    stream_id: int
    headers: list[tuple[bytes, bytes]]
    streams_open: int
    body: bytearray = field(default_factory=bytearray)
    request: PushRequest | None = None
    judgement: Judgement | None = None
    timer: asyncio.TimerHandle | None = None
    journaled: bool = False


class ApnsConnection(asyncio.Protocol):
    """Speaks HTTP/2 with one client; every push ends in the journal, answered or not."""

    _transport: asyncio.Transport

    def __init__(self, shared: Shared, connections: set["ApnsConnection"]) -> None:
        self._shared, self._connections = shared, connections
        self.number = 0
        self._loop = asyncio.get_running_loop()
        self._h2 = _H2(h2.config.H2Configuration(
            client_side=False, header_encoding=False,
            validate_outbound_headers=False, normalize_outbound_headers=False,
        ))  # fmt: skip
        self._open: dict[int, _Stream] = {}
        self._team_id: str | None = None
        self._warm = self._held = self._silent = self._ended = self._flush_due = False
        self._limit = self._wanted_limit()
        self._limits_sent: deque[int] = deque()
        self._limit_acknowledged: int | None = None
        self._last_stream_id: int | None = None
        self._newest_stream_id = self._refused_cold = 0
        self._handlers: Mapping[type[h2.events.Event], Callable[[Any], None]] = {
            h2.events.RequestReceived: self._begin,
            h2.events.DataReceived: self._collect,
            h2.events.StreamEnded: self._complete,
            h2.events.StreamReset: self._forget,
            h2.events.SettingsAcknowledged: self._acknowledged,
            h2.events.ConnectionTerminated: self._left,
        }

    # the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  asyncio promises a transport of this kind
        self._transport = transport
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self._ended = True
            transport.abort()
            return
        self._shared.counted["connections"] += 1
        self.number = self._shared.counted["connections"]
        self._connections.add(self)
        # assigned as a whole: single items set afterwards would be announced only in a second frame
        self._h2.local_settings = _Settings(client=False, initial_values={**_SETTINGS, _LIMIT: self._limit})
        self._h2.decoder.max_header_list_size = self._h2.local_settings.max_header_list_size or 0
        self._h2.initiate_connection()
        self._limits_sent.append(self._limit)
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
            self._close()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  how it was lost does not matter
        self._ended = True
        self._abandon()
        self._connections.discard(self)

    # from frames to a request

    def _begin(self, event: h2.events.RequestReceived) -> None:
        stream_id, shared = event.stream_id, self._shared
        self._newest_stream_id = stream_id
        if self._last_stream_id is not None and stream_id > self._last_stream_id:
            shared.counted["arrivals_above_last_stream_id"] += 1
            return
        streams_open = len(self._open) + 1
        if not self._warm:
            # those refused count too: a burst into a cold connection is what this figure is there to show
            name = "most_streams_before_first_good_answer"
            shared.counted[name] = max(shared.counted[name], streams_open + self._refused_cold)
        if streams_open > self._limit and not self._tolerate(stream_id, streams_open):
            return
        self._open[stream_id] = _Stream(stream_id, event.headers, streams_open)

    def _tolerate(self, stream_id: int, streams_open: int) -> bool:
        """Whether a stream over the limit is served; if not, it has been refused."""
        policy, counted = self._shared.config.excess, self._shared.counted
        acknowledged = self._limit_acknowledged is not None and streams_open > self._limit_acknowledged
        counted["streams_over_limit"] += 1
        counted["streams_over_acknowledged_limit"] += acknowledged
        if policy == "count":
            return True
        if policy == "goaway" and acknowledged:
            self._go_away(max(stream_id - 2, 0), h2.errors.ErrorCodes.PROTOCOL_ERROR,
                          "maximum active streams violated")  # fmt: skip
        else:
            self._refused_cold += not self._warm
            self._send_reset(stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
        return False

    def _collect(self, event: h2.events.DataReceived) -> None:
        # without it the client stalls once 65535 bytes have come
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        stream = self._open.get(event.stream_id)
        if stream is not None and len(stream.body) < _BODY_KEPT:
            stream.body += event.data

    def _complete(self, event: h2.events.StreamEnded) -> None:
        stream = self._open.get(event.stream_id)
        if stream is None:
            return
        stream.request = _read_request(stream)
        stream.judgement = self._shared.judge(stream.request, self._team_id)
        if stream.judgement.team_id:
            self._team_id = stream.judgement.team_id
        # faults hit only what is otherwise in order: a client's own mistake is never hidden by one
        accepted = stream.judgement.answer.status == 200
        fault = self._shared.faults.for_push(stream.request.device_token.lower()) if accepted else None
        if fault is None:
            self._answer_later(stream, self._shared.config.delay_ms)
        else:
            self._misbehave(stream, stream.judgement, fault)

    def _forget(self, event: h2.events.StreamReset) -> None:
        if stream := self._open.get(event.stream_id):
            self._drop(stream, answered=False)

    def _acknowledged(self, event: h2.events.SettingsAcknowledged) -> None:  # noqa: ARG002  one handler's shape for all
        if self._limits_sent:
            self._limit_acknowledged = self._limits_sent.popleft()

    def _left(self, event: h2.events.ConnectionTerminated) -> None:  # noqa: ARG002  one handler's shape for all
        self._close()

    # from a request to an answer

    def _misbehave(self, stream: _Stream, judgement: Judgement, fault: Fault) -> None:
        delay_ms = self._shared.config.delay_ms if fault.delay_ms is None else fault.delay_ms
        match fault.effect:
            case "answer":
                status = fault.status or STATUS_OF.get(fault.reason or "", 500)
                stream.judgement = judgement._replace(answer=Answer(status, fault.reason, fault.code))
            case "no_body_503":
                stream.judgement = judgement._replace(answer=Answer(503))
            case "silence":
                self._write_journal(stream, answered=False)
                return  # it stays open, and counts as open, until the client gives up
            case "rst_stream":
                self._reset_stream(stream, judgement, fault.code)
                return
            case effect if effect in CONNECTION_EFFECTS:
                self.strike(fault)
        if stream.stream_id in self._open:
            self._answer_later(stream, delay_ms)

    def _answer_later(self, stream: _Stream, delay_ms: int) -> None:
        if delay_ms:
            stream.timer = self._loop.call_later(delay_ms / 1000, self._answer, stream)
        else:
            self._answer(stream)

    def _answer(self, stream: _Stream) -> None:
        judgement = stream.judgement
        assert judgement is not None  # noqa: S101  only complete requests get here
        answer, body = judgement.answer, judgement.answer.body()
        headers = [(b":status", b"%d" % answer.status), (b"apns-id", judgement.apns_id.encode())]
        try:
            self._h2.send_headers(stream.stream_id, headers, end_stream=not body)
            if body:
                self._h2.send_data(stream.stream_id, body, end_stream=True)
        except h2.exceptions.ProtocolError:  # closed meanwhile, or the client left us no window for the body
            self._drop(stream, answered=False)
        else:
            self._drop(stream, answered=True)
        if answer.status == 200 and not self._warm:
            self._warm = True
            self.adjust_limit()
        self._flush_soon()

    def _reset_stream(self, stream: _Stream, judgement: Judgement, code: int | None) -> None:
        code = h2.errors.ErrorCodes.INTERNAL_ERROR if code is None else code
        if code == h2.errors.ErrorCodes.REFUSED_STREAM:  # which promises that nothing was done (RFC 9113, 8.7)
            stream.judgement = judgement._replace(answer=Answer(0, "REFUSED_STREAM"))
        self._send_reset(stream.stream_id, code)
        self._drop(stream, answered=False)

    def _send_reset(self, stream_id: int, code: int) -> None:
        with suppress(h2.exceptions.StreamClosedError):  # the client's own reset may lie behind, in the same bytes
            self._h2.reset_stream(stream_id, code)

    def _drop(self, stream: _Stream, *, answered: bool) -> None:
        if self._open.pop(stream.stream_id, None) is None:
            return
        if stream.timer:
            stream.timer.cancel()
        self._write_journal(stream, answered=answered)
        if self._last_stream_id is not None and not self._open:
            self._loop.call_soon(self._close)  # not before the answer just made has been written

    def _abandon(self) -> None:
        """Answer nothing more: what was taken on stays taken on, and its sender will not hear of it."""
        for stream in list(self._open.values()):
            self._drop(stream, answered=False)

    def _write_journal(self, stream: _Stream, *, answered: bool) -> None:
        request, judgement = stream.request, stream.judgement
        if request is None or judgement is None or stream.journaled:
            return
        stream.journaled = True
        headers, answer = request.headers, judgement.answer
        self._shared.journal.write(
            connection=self.number,
            stream_id=stream.stream_id,
            streams_open=stream.streams_open,
            device_token=request.device_token,
            accepted=answer.status == 200,
            answered=answered,
            status=answer.status or None,
            reason=answer.reason,
            apns_id=judgement.apns_id,
            collapse_id=headers.get("apns-collapse-id"),
            topic=headers.get("apns-topic"),
            push_type=headers.get("apns-push-type"),
            priority=headers.get("apns-priority"),
            expiration=headers.get("apns-expiration"),
            payload=judgement.payload,
        )

    # the connection as a whole; the control server calls these on the loop's thread

    def strike(self, fault: Fault) -> None:
        """Do to this connection what the fault says: go silent, reset, go away or close."""
        match fault.effect:
            case "silent_connection":
                self._abandon()
                self._silent = True
                self._transport.pause_reading()
            case "reset":
                self._reset()
            case "goaway":
                self._go_away(self._below_newest(fault.code or 0), h2.errors.ErrorCodes.NO_ERROR, fault.reason)
            case "close":
                self._close()

    def adjust_limit(self) -> None:
        """Announce the stream limit that now holds, where it is another than before."""
        wanted = self._wanted_limit()
        if wanted != self._limit and not (self._silent or self._ended) and self._last_stream_id is None:
            self._limit = wanted
            self._h2.update_settings({_LIMIT: wanted})
            self._limits_sent.append(wanted)
            self._flush_soon()

    def facts(self) -> dict[str, int | bool | None]:
        return {
            "connection": self.number,
            "streams_open": len(self._open),
            "stream_limit": self._limit,
            "stream_limit_acknowledged": self._limit_acknowledged,
            "silent": self._silent,
        }

    def abort(self) -> None:
        self._transport.abort()

    def _wanted_limit(self) -> int:
        config, ordered = self._shared.config, self._shared.faults.stream_limit
        if self._warm:
            return config.raised_streams if ordered is None else ordered
        return config.initial_streams if ordered is None else min(config.initial_streams, ordered)

    def _below_newest(self, count: int) -> int:
        """The stream id below the `count` newest streams, as far as they are still open and next to each other."""
        last = self._newest_stream_id
        while count and last in self._open:
            last, count = last - 2, count - 1
        return last

    def _go_away(self, last_stream_id: int, code: int, reason: str | None) -> None:
        """Streams above `last_stream_id` never happened; the others are answered, then the connection closes."""
        if self._silent or self._ended or self._last_stream_id is not None:
            return
        self._flush()
        self._last_stream_id = last_stream_id
        for stream_id in [stream_id for stream_id in self._open if stream_id > last_stream_id]:
            stream = self._open.pop(stream_id)
            if stream.timer:
                stream.timer.cancel()
            self._shared.counted["streams_dropped_by_goaway"] += 1
        # past h2, whose own close_connection() would forbid every answer that is still due
        frame = GoAwayFrame(0, last_stream_id=last_stream_id, error_code=code,
                            additional_data=Answer(0, reason).body())  # fmt: skip
        self._transport.write(frame.serialize())
        if not self._open:
            self._loop.call_soon(self._close)

    def _close(self) -> None:
        """Close without a word; what h2 itself had to say goes out before."""
        if not self._ended:
            self._flush()
            self._ended = True
            self._abandon()
            self._transport.close()

    def _reset(self) -> None:
        self._ended = True
        self._abandon()
        peer = self._transport.get_extra_info("socket")
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


def _read_request(stream: _Stream) -> PushRequest:
    pseudo: dict[str, str] = {}
    headers: dict[str, str] = {}
    repeated = False
    for raw_name, raw_value in stream.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("utf-8", "surrogateescape")
        if name.startswith(":"):
            pseudo[name] = value
        else:
            repeated = repeated or name in headers
            headers[name] = value
    return PushRequest(pseudo.get(":method", ""), pseudo.get(":path", ""), headers, repeated, bytes(stream.body))

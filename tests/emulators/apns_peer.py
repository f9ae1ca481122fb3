"""What the tests of the emulated APNs need: a running emulator, provider tokens, and a client made of bare frames.

The client obeys no rule by itself: it can exceed limits, repeat headers and leave SETTINGS unacknowledged, which no
well-behaved library allows.
"""

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hpack
import jwt
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from jwt.utils import base64url_decode, base64url_encode, raw_to_der_signature

TEAM, KEY_ID, TOPIC = "TEAM123456", "KEY1234567", "com.example.chat"
OTHER_TEAM, OTHER_KEY_ID, OTHER_TOPIC = "TEAM999999", "KEY9999999", "com.example.other"
PRODUCTION_KEY_ID = "KEYPRODUCT"
PHONE = "ab" * 32
ALERT = {"aps": {"alert": "hello"}}

_KEYS = {key_id: ec.generate_private_key(ec.SECP256R1()) for key_id in (KEY_ID, OTHER_KEY_ID, PRODUCTION_KEY_ID)}


def private_pem(key_id: str = KEY_ID) -> str:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return _KEYS[key_id].private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()


def public_pem(key_id: str = KEY_ID) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return _KEYS[key_id].public_key().public_bytes(serialization.Encoding.PEM, spki).decode()


def provider_token(
    key_id: str = KEY_ID, team_id: str = TEAM, issued_at: object = None, signed_by: str | None = None, **claims: object
) -> str:
    said = {"iss": team_id, "iat": int(time.time()) if issued_at is None else issued_at, **claims}
    return jwt.encode(said, _KEYS[signed_by or key_id], algorithm="ES256", headers={"kid": key_id})


def with_der_signature(token: str) -> str:
    """The token as Java's SHA256withECDSA signs it: Pushy, for one, sends it so, and Apple takes it."""
    signed, _, signature = token.rpartition(".")
    der = raw_to_der_signature(base64url_decode(signature), ec.SECP256R1())
    return f"{signed}.{base64url_encode(der).decode()}"


def section(folder: Path, **changes: Any) -> dict[str, Any]:
    """A configuration of two teams, as TOML would give it."""
    return {
        "tls_folder": str(folder / "tls"),
        "delay_ms": 0,
        "token_updates": 0,
        "teams": [
            {
                "team_id": TEAM,
                "topics": [TOPIC, "com.example.chat.beta"],
                "keys": [
                    {"key_id": KEY_ID, "key": private_pem()},
                    {"key_id": PRODUCTION_KEY_ID, "key": public_pem(PRODUCTION_KEY_ID), "environment": "production"},
                ],
            },
            {
                "team_id": OTHER_TEAM,
                "topics": [OTHER_TOPIC],
                "keys": [{"key_id": OTHER_KEY_ID, "key": public_pem(OTHER_KEY_ID)}],
            },
        ],
        **changes,
    }


@dataclass(frozen=True)
class Emulator:
    """A running emulator and its control port."""

    port: int
    control: str
    ca_file: str
    session: requests.Session

    def order(self, effect: str, **facts: object) -> None:
        self._post("faults", {"effect": effect, **facts})

    def know(self, device_token: str, state: str, timestamp_ms: int | None = None) -> None:
        self._post("devices", {"device_token": device_token, "state": state, "timestamp_ms": timestamp_ms})

    def replace(self, *faults: Mapping[str, object]) -> None:
        self.session.put(f"{self.control}/faults", json=faults, timeout=60).raise_for_status()

    def name(self, device_token: str, phone: str) -> None:
        self._post("devices", {"device_token": device_token, "phone": phone})

    def hit(self, effect: str, **facts: object) -> None:
        self._post("connections", {"effect": effect, **facts})

    def connections(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.session.get(f"{self.control}/connections", timeout=60).json()["connections"]
        return found

    def journal(self, after: int = 0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._journal(after)["entries"]
        return found

    def last(self) -> int:
        number: int = self._journal(10**9)["last"]
        return number

    def counter(self, name: str) -> int:
        count: int = self._journal(10**9)["counters"][name]
        return count

    def clear(self) -> None:
        self.session.delete(f"{self.control}/faults", timeout=60).raise_for_status()

    def _journal(self, after: int) -> dict[str, Any]:
        found: dict[str, Any] = self.session.get(f"{self.control}/journal", params={"after": after}, timeout=60).json()
        return found

    def _post(self, what: str, order: Mapping[str, object]) -> None:
        self.session.post(f"{self.control}/{what}", json=order, timeout=60).raise_for_status()


@contextmanager
def emulator(folder: Path, **changes: Any) -> Iterator[Emulator]:
    """An emulator in a process of its own, gone at the end."""
    config = folder / "apns.json"
    config.write_text(json.dumps(section(folder, **changes)))
    code = (
        "import json, pathlib, sys; from proxy.emulators.apns import ApnsConfig, serve_apns;"
        "serve_apns(ApnsConfig.model_validate_json(pathlib.Path(sys.argv[1]).read_bytes()),"
        "lambda announced: print(json.dumps(announced), flush=True))"
    )
    with (
        (folder / "stderr").open("w") as complaints,
        subprocess.Popen(
            [sys.executable, "-c", code, str(config)], stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as process,
        requests.Session() as session,
    ):
        try:
            assert process.stdout
            announced = json.loads(process.stdout.readline())
            session.trust_env = False
            yield Emulator(
                announced["port"],
                f"http://127.0.0.1:{announced['control_port']}/_emulator",
                announced["ca_file"],
                session,
            )
        finally:
            process.terminate()
    assert (process.returncode, (folder / "stderr").read_text()) == (0, "")


@dataclass(frozen=True)
class Reply:
    status: int
    apns_id: str
    apns_unique_id: str | None
    said: dict[str, Any] | None
    retry_after: str | None = None

    @property
    def reason(self) -> str | None:
        return self.said["reason"] if self.said else None


@dataclass
class Peer:
    """A connection of bare frames. `ended` becomes "closed" or "reset" when the server ends it."""

    emulator: Emulator
    authorization: str | None = field(default_factory=lambda: f"bearer {provider_token()}")
    alpn: tuple[str, ...] = ("h2",)
    window: int = 65535  # what the server may send on each stream before it gets more credit
    replies: dict[int, Reply] = field(default_factory=dict)
    resets: dict[int, int] = field(default_factory=dict)
    goaways: list[GoAwayFrame] = field(default_factory=list)
    settings: list[dict[int, int]] = field(default_factory=list)
    pings: int = 0
    credit: int = 0
    ended: str | None = None

    def __enter__(self) -> Self:
        context = ssl.create_default_context(cafile=self.emulator.ca_file)
        if self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        self._socket = socket.create_connection(("127.0.0.1", self.emulator.port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # on buffers, because an SSLSocket shows a TCP reset as an ordinary end
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname="127.0.0.1")
        try:
            self._shake_hands()
        except ssl.SSLError:
            self._socket.close()
            raise
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._next, self._unread = 1, b""
        self._half: dict[int, tuple[dict[str, str], bytes]] = {}
        self.write(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: self.window}).serialize()
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    @property
    def port(self) -> int:
        """Our port, by which the journal names the sender of a push."""
        port: int = self._socket.getsockname()[1]
        return port

    def frames(
        self,
        device_token: str = PHONE,
        body: object = ALERT,
        *,
        method: str = "POST",
        path: str | None = None,
        more: tuple[tuple[str, str], ...] = (),
        **changed: str | None,
    ) -> tuple[int, bytes]:
        """A stream id and the frames of a push; `changed` sets apns_* headers, or with None leaves one out."""
        headers = {"authorization": self.authorization, "apns-topic": TOPIC, "apns-push-type": "alert"}
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        listed = [(":method", method), (":scheme", "https"), (":authority", "localhost"),
                  (":path", f"/3/device/{device_token}" if path is None else path),
                  *((name, value) for name, value in headers.items() if value is not None), *more]  # fmt: skip
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        stream_id, self._next = self._next, self._next + 2
        flags = ["END_HEADERS"] if raw else ["END_HEADERS", "END_STREAM"]
        sent = HeadersFrame(stream_id, self._encoder.encode(listed), flags=flags).serialize()
        for start in range(0, len(raw), 16384):
            end = ["END_STREAM"] if start + 16384 >= len(raw) else []
            sent += DataFrame(stream_id, raw[start : start + 16384], flags=end).serialize()
        return stream_id, sent

    def push(self, *args: Any, **changed: Any) -> int:
        stream_id, sent = self.frames(*args, **changed)
        self.write(sent)
        return stream_id

    def burst(self, device_tokens: list[str]) -> list[int]:
        """Several pushes in one write."""
        made = [self.frames(device_token) for device_token in device_tokens]
        self.write(b"".join(sent for _, sent in made))
        return [stream_id for stream_id, _ in made]

    def ask(self, *args: Any, **changed: Any) -> Reply:
        """Push and wait for the answer."""
        stream_id = self.push(*args, **changed)
        self.read(lambda: stream_id in self.replies)
        return self.replies[stream_id]

    def cancel(self, stream_id: int) -> None:
        self.write(RstStreamFrame(stream_id, error_code=8).serialize())

    def grant(self, stream_id: int, credit: int) -> None:
        """Let the server send that much more; stream 0 is the connection."""
        self.write(WindowUpdateFrame(stream_id, window_increment=credit).serialize())

    def change_window(self, window: int) -> None:
        self.write(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: window}).serialize())

    def ping(self) -> None:
        """Wait until the server has read all that was sent, and what it made of it has come back."""
        self.write(PingFrame(0, opaque_data=b"12345678").serialize())
        seen = self.pings
        self.read(lambda: self.pings > seen)

    def write(self, sent: bytes) -> None:
        self._tls.write(sent)
        self._socket.sendall(self._goes.read())

    def read(self, until: Callable[[], bool], timeout_s: float = 60) -> bool:
        """Read frames until something holds; False when the time is over or the connection has ended before."""
        due = time.monotonic() + timeout_s
        while not until():
            left = due - time.monotonic()
            if left <= 0 or self.ended:
                return False
            self._socket.settimeout(left)
            try:
                received = self._receive()
            except TimeoutError:
                return False
            except ConnectionResetError:
                self.ended = "reset"
                continue
            self.ended = None if received else "closed"
            self._unread += received
            self._take_frames()
        return True

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self._socket.sendall(self._goes.read())
                self._came.write(self._socket.recv(65536))

    def _receive(self) -> bytes:
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                received = self._socket.recv(65536)
                if not received:
                    return b""
                self._came.write(received)

    def _take_frames(self) -> None:
        while len(self._unread) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._unread[:9]))
            if len(self._unread) < 9 + length:
                return
            frame.parse_body(memoryview(self._unread[9 : 9 + length]))
            self._unread = self._unread[9 + length :]
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        match frame:
            case SettingsFrame() if "ACK" not in frame.flags:
                self.settings.append(dict(frame.settings))
                self.write(SettingsFrame(0, flags=["ACK"]).serialize())
            case HeadersFrame():
                headers = {str(name): str(value) for name, value in self._decoder.decode(frame.data)}
                self._half[frame.stream_id] = headers, b""
                self._finish(frame)
            case DataFrame():
                headers, body = self._half[frame.stream_id]
                self._half[frame.stream_id] = headers, body + frame.data
                self._finish(frame)
            case RstStreamFrame():
                self.resets[frame.stream_id] = frame.error_code
            case GoAwayFrame():
                self.goaways.append(frame)
            case PingFrame():
                self.pings += 1
            case WindowUpdateFrame():
                self.credit += frame.window_increment

    def _finish(self, frame: Frame) -> None:
        if "END_STREAM" in frame.flags:
            headers, body = self._half.pop(frame.stream_id)
            said = json.loads(body) if body else None
            status, apns_id = int(headers[":status"]), headers["apns-id"]
            self.replies[frame.stream_id] = Reply(
                status, apns_id, headers.get("apns-unique-id"), said, headers.get("retry-after")
            )

"""Bearers as hostile clients may send them, and what a signer with our key may claim."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from proxy.auth.claims import MOST_LIFE_S
from proxy.auth.credentials import MAX_ACCOUNT_BYTES, Authenticated, Credentials, Refused
from proxy.auth.jwt_bearer import REASONS, JwtBearer
from proxy.settings import JwtSettings
from tests.fuzz.loop import Target

NOW = 1_795_435_200
SECRET, OTHER_SECRET = (
    "the fuzzer's own secret, good for nothing: 0123456789",
    "another one of the fuzzer's: 0123456789abc",
)
ISSUERS: dict[str, dict[str, Any]] = {
    "plain": {"secret": SECRET, "leeway_s": 60},
    "other": {"secret": OTHER_SECRET, "issuer": "https://other.example", "audience": "broker", "account_claim": "a.b"},
    "public": {"public_key_file": str(Path(__file__).parent / "data" / "es256.pem"), "issuer": "https://ec.example"},
}


def bearers() -> Target:
    """The header's value as it comes; or after the line `sign` header and claims, a line each, rightly signed."""
    backend = JwtBearer(
        {name: JwtSettings.model_validate(own) for name, own in ISSUERS.items()}, now=lambda: NOW, monotonic=lambda: 0.0
    )
    good = json.dumps({"sub": "alice", "exp": NOW + 600}).encode()
    full = {"sub": "a", "iss": "https://other.example", "aud": ["broker"], "exp": NOW + 9, "nbf": NOW, "iat": NOW - 1.5}
    heads = [b'{"alg":"HS256","typ":"JWT"}', b'{"alg":"HS256","kid":"k1"}', b'{"alg":"none"}', b'{"alg":"ES256"}']
    seeds = [b"sign\n" + head + b"\n" + good for head in heads]
    seeds += [b"sign\n" + heads[0] + b"\n" + json.dumps(full | {"a": {"b": 17}}).encode()]
    seeds += [b"Bearer " + signed(head, good) for head in heads]
    seeds += [b"Bearer a.b.c", b"bearer  x", b"Basic YTpi", b"", b"Bearer " + b"." * 9]
    words = [b"Bearer ", b".", b"eyJ", b'"crit"', b'"b64"', b'"exp"', b'"aud"', b'"iss"', b'"nbf"', b"at+jwt"]
    return Target("bearers", lambda content: _judge(backend, content), seeds, words)


def _judge(backend: JwtBearer, content: bytes) -> None:
    form, _, rest = content.partition(b"\n")
    is_signed = form == b"sign"
    header = b"Bearer " + signed(*_two_lines(rest)) if is_signed else content
    for _ in range(2):  # the second time perhaps from memory
        verdict = backend.authenticate(Credentials(header.decode("latin-1"), {}))
        match verdict:
            case Authenticated(account):
                assert 0 < len(account.encode()) <= MAX_ACCOUNT_BYTES
                assert is_signed or is_ours(header)
                if is_signed:
                    assert -60 < float(json.loads(_two_lines(rest)[1])["exp"]) - NOW <= MOST_LIFE_S
            case Refused(reason):
                assert reason in REASONS
            case _:
                assert verdict is None


def signed(head: bytes, claims: bytes) -> bytes:
    start = b64(head) + b"." + b64(claims)
    return start + b"." + b64(_mac(start, OTHER_SECRET if b"other.example" in claims else SECRET))


def is_ours(header: bytes) -> bool:
    """Signed with one of our secrets, as computed without the code under test."""
    start, _, signature = header.split()[-1].rpartition(b".")
    return any(hmac.compare_digest(b64(_mac(start, secret)), signature) for secret in (SECRET, OTHER_SECRET))


def _mac(start: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), start, hashlib.sha256)


def b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _two_lines(rest: bytes) -> tuple[bytes, bytes]:
    head, _, claims = rest.partition(b"\n")
    return head, claims

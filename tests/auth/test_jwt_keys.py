"""Where issuers' keys come from, how they change, and what is remembered meanwhile."""

import base64
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from structlog.testing import capture_logs

from proxy.auth import Authenticated, Credentials, Refused, Unavailable
from proxy.auth.jwt_bearer import JwtBearer
from proxy.settings import JwtSettings
from tests.auth.endpoint import Asked, Reply, always, endpoint

SECRETS = [f"secret number {number} of the tests: 0123456789" for number in range(3)]
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
EC = {name: ec.generate_private_key(curve) for name, curve in CURVES.items()}
ED = ed25519.Ed25519PrivateKey.generate()
SIGNERS: dict[str, Any] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    **EC,
    "EdDSA": ED,
}
ALICE = Authenticated("alice", None, "jwt")


def signed(key: Any, algorithm: str, kid: str | None = None, **claims: Any) -> str:
    told = {"sub": "alice", "exp": int(time.time()) + 3600} | claims
    return jwt.encode(told, key, algorithm, {"kid": kid} if kid else None)


def shown(token: str, client: str = "203.0.113.1") -> Credentials:
    return Credentials(f"Bearer {token}", {}, client)


def pem(key: Any) -> bytes:
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    found: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, info)
    return found


def jwk(key: Any, **members: Any) -> dict[str, Any]:
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return {**OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), **members}
    return {**kind.to_jwk(key.public_key(), as_dict=True), **members}


def key_set(*jwks: object) -> bytes:
    return json.dumps({"keys": jwks}).encode()


@dataclass
class Clock:
    """Does not move by itself."""

    now: float = 1000.0
    fetched: list[tuple[str, datetime]] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def backend(self, **issuers: dict[str, Any]) -> JwtBearer:
        settings = {name: JwtSettings.model_validate(own) for name, own in issuers.items()}
        return JwtBearer(settings, lambda issuer, at: self.fetched.append((issuer, at)), monotonic=self)


@pytest.fixture
def clock() -> Clock:
    return Clock()


# kinds of keys


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_secret_verifies_what_the_settings_allow(clock: Clock, algorithm: str) -> None:
    secret = "s" * 64
    backend = clock.backend(own={"secret": secret, "algorithms": [algorithm]})
    for used in ("HS256", "HS384", "HS512"):
        verdict = backend.authenticate(shown(signed(secret, used)))
        assert verdict == (ALICE if used == algorithm else Refused("algorithm not allowed"))


@pytest.mark.parametrize("algorithm", list(SIGNERS))
def test_a_public_key_file_verifies_its_kind(clock: Clock, tmp_path: Path, algorithm: str) -> None:
    (tmp_path / "key.pem").write_bytes(pem(SIGNERS[algorithm]))
    backend = clock.backend(own={"public_key_file": str(tmp_path / "key.pem"), "algorithms": [algorithm]})
    assert backend.authenticate(shown(signed(SIGNERS[algorithm], algorithm))) == ALICE
    others = {other for other in SIGNERS if other != algorithm}
    for other in others:
        assert isinstance(backend.authenticate(shown(signed(SIGNERS[other], other))), Refused)


@pytest.mark.parametrize(("usual", "unusual"), [("RS256", "PS256"), ("RS256", "RS512")])
def test_without_a_list_a_key_has_its_usual_algorithm_alone(
    clock: Clock, tmp_path: Path, usual: str, unusual: str
) -> None:
    (tmp_path / "key.pem").write_bytes(pem(RSA))
    backend = clock.backend(own={"public_key_file": str(tmp_path / "key.pem")})
    assert backend.authenticate(shown(signed(RSA, usual))) == ALICE
    assert backend.authenticate(shown(signed(RSA, unusual))) == Refused("algorithm not allowed")


@pytest.mark.parametrize("algorithm", list(SIGNERS))
def test_a_key_set_verifies_every_kind(clock: Clock, algorithm: str) -> None:
    with endpoint(always(body=key_set(jwk(SIGNERS[algorithm], kid="k", alg=algorithm, use="sig")))) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url})
        assert backend.authenticate(shown(signed(SIGNERS[algorithm], algorithm, "k"))) == ALICE


def test_issuers_are_told_apart_by_iss_and_the_others_are_tried_in_turn(clock: Clock) -> None:
    backend = clock.backend(
        a={"secret": SECRETS[0], "issuer": "https://a.example", "app": "main", "account_prefix": "a:"},
        b={"secret": SECRETS[1]},
        c={"secret": SECRETS[2], "account_claim": "user.id"},
    )
    a, b, c = (
        backend.authenticate(shown(signed(secret, "HS256", iss=iss, user={"id": 7})))
        for secret, iss in zip(SECRETS, ("https://a.example", "x", "y"), strict=True)
    )
    assert (a, b, c) == (Authenticated("a:alice", "main", "jwt"), ALICE, Authenticated("7", None, "jwt"))
    assert backend.authenticate(shown(signed(SECRETS[1], "HS256", iss="https://a.example"))) == Refused("bad signature")


def test_a_claim_whose_name_is_a_url_comes_before_the_path_with_its_dots(clock: Clock) -> None:
    backend = clock.backend(own={"secret": SECRETS[0], "account_claim": "https://app.example/account"})
    token = signed(SECRETS[0], "HS256", **{"https://app.example/account": "bob"})
    assert backend.authenticate(shown(token)) == Authenticated("bob", None, "jwt")


# key sets


def test_a_key_set_is_fetched_once_and_only_for_tokens_that_it_could_serve(clock: Clock) -> None:
    with endpoint(always(body=key_set(jwk(RSA, kid="k")))) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url}, hs={"secret": SECRETS[0]})
        assert backend.authenticate(shown(signed(SECRETS[0], "HS256"))) == ALICE
        assert issuer.asked == []
        for account in ("alice", "bob", "carol"):
            assert isinstance(backend.authenticate(shown(signed(RSA, "RS256", "k", sub=account))), Authenticated)
        assert [asked.path for asked in issuer.asked] == ["/whoami/"]
        assert [name for name, _ in clock.fetched] == ["own"]
        assert abs((datetime.now(UTC) - clock.fetched[0][1]).total_seconds()) < 60


def test_an_unknown_kid_is_undecided_until_the_issuer_may_be_asked_and_unknown_afterwards(clock: Clock) -> None:
    with endpoint(always(body=key_set(jwk(RSA, kid="old")))) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url})
        assert backend.authenticate(shown(signed(RSA, "RS256", "old"))) == ALICE
        withdrawn = shown(signed(OTHER_RSA, "RS256", "withdrawn"))
        verdict = backend.authenticate(withdrawn)
        assert verdict == Unavailable("unknown kid, issuer asked just now")
        assert isinstance(verdict, Unavailable)
        assert verdict.retry_after_s == 5
        clock.now += 5
        for _ in range(3):
            assert backend.authenticate(withdrawn) == Refused("unknown kid")
            clock.now += 9
        assert len(issuer.asked) == 2
        issuer.answer = always(body=key_set(jwk(OTHER_RSA, kid="withdrawn")))  # the key is back
        clock.now += 10
        assert backend.authenticate(withdrawn) == ALICE


def test_a_stranger_who_makes_up_kids_delays_no_rotation(clock: Clock) -> None:
    """Whatever they send from their address, and also where they can foresee the next kid."""
    with endpoint(always(body=key_set(jwk(RSA, kid="old")))) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url})
        assert backend.authenticate(shown(signed(RSA, "RS256", "old"))) == ALICE
        clock.now += 5
        for number in range(20):
            for kid in ("new", f"made up {number}"):
                assert not isinstance(
                    backend.authenticate(shown(signed(RSA, "RS256", kid), "192.0.2.6")), Authenticated
                )
            clock.now += 1
        assert len(issuer.asked) == 2
        issuer.answer = always(body=key_set(jwk(OTHER_RSA, kid="new")))
        assert backend.authenticate(shown(signed(OTHER_RSA, "RS256", "new"))) == ALICE


def test_strangers_of_many_addresses_delay_a_rotation_by_five_seconds_and_nobody_is_refused_meanwhile(
    clock: Clock,
) -> None:
    with endpoint(always(body=key_set(jwk(RSA, kid="old")))) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url})
        for number in range(100):
            backend.authenticate(shown(signed(RSA, "RS256", f"made up {number}"), f"192.0.2.{number}"))
            clock.now += 0.5
        assert len(issuer.asked) == 10
        issuer.answer = always(body=key_set(jwk(OTHER_RSA, kid="new")))
        verdicts = []
        for number in range(10):
            backend.authenticate(shown(signed(RSA, "RS256", f"more {number}"), f"198.51.100.{number}"))
            verdicts.append(backend.authenticate(shown(signed(OTHER_RSA, "RS256", "new"))))
            clock.now += 0.5
        undecided = Unavailable("unknown kid, issuer asked just now")
        assert verdicts[-1] == ALICE
        assert all(verdict in (undecided, ALICE) for verdict in verdicts)


@pytest.mark.parametrize(
    "spoiled",
    [
        {"exp": 1},
        {"exp": None},
        {"iss": "https://elsewhere.example"},
        {"aud": "another"},
        {"nbf": 2**33},
        {"sub": 7},
        {"signature": b"short"},
        {"signature": bytes(64)},
    ],
    ids=str,
)
def test_a_token_that_no_key_could_make_good_never_has_the_keys_fetched(clock: Clock, spoiled: dict[str, Any]) -> None:
    signature = spoiled.pop("signature", bytes(256))
    claims = {"sub": "alice", "exp": int(time.time()) + 3600, "iss": "https://a.example", "aud": "us"} | spoiled
    head, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "RS256", "kid": "unknown"}, claims)
    )
    token = f"{head}.{payload}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    with endpoint(always(body=key_set(jwk(RSA, kid="k")))) as issuer:
        own = {"jwks_url": issuer.url, "issuer": "https://a.example", "audience": "us"}
        assert isinstance(clock.backend(own=own).authenticate(shown(token)), Refused)
        assert issuer.asked == []


def test_old_keys_are_fetched_again_in_the_background_and_a_withdrawn_one_is_forgotten(clock: Clock) -> None:
    with endpoint(always(body=key_set(jwk(RSA, kid="k")))) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url})
        token = shown(signed(RSA, "RS256", "k"))
        assert backend.authenticate(token) == ALICE
        issuer.answer = always(body=key_set(jwk(OTHER_RSA, kid="k2")))
        clock.now += 601
        assert backend.authenticate(token) == ALICE  # no caller waits
        wait_until(lambda: len(clock.fetched) == 2)
        assert backend.authenticate(token) == Refused("unknown kid")
        assert backend.authenticate(shown(signed(OTHER_RSA, "RS256", "k2"))) == ALICE


def test_while_the_issuer_is_down_its_old_keys_stay_and_their_age_is_logged(clock: Clock) -> None:
    with endpoint(always(body=key_set(jwk(RSA, kid="k")))) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url})
        assert backend.authenticate(shown(signed(RSA, "RS256", "k"))) == ALICE
        issuer.answer = always(500)
        clock.now += 5000
        with capture_logs() as logs:
            unknown = backend.authenticate(shown(signed(OTHER_RSA, "RS256", "new")))
            wait_until(lambda: len(logs) == 1)
        assert unknown == Unavailable("unknown kid, issuer down")
        assert (logs[0]["issuer"], logs[0]["age_s"], logs[0]["log_level"]) == ("own", 5000, "warning")
        assert backend.authenticate(shown(signed(RSA, "RS256", "k", sub="bob"))) == Authenticated("bob", None, "jwt")
        assert len(clock.fetched) == 1


DEEP = b'{"keys":' + b"[" * 100_000
NO_KEY_SETS: dict[str, Reply] = {
    "500": Reply(500),
    "a redirect": Reply(302, headers={"Location": "http://127.0.0.1:1/"}),
    "404": Reply(404),
    "no JSON": Reply(body=b"<html>"),
    "a list": Reply(body=b"[]"),
    "no keys": Reply(body=b"{}"),
    "keys an object": Reply(body=b'{"keys":{}}'),
    "too long": Reply(body=key_set(jwk(RSA, kid="k", x="x" * 300_000))),
    "deep": Reply(body=DEEP),
    "cut": Reply(body=b'{"keys":['),
    "not UTF-8": Reply(body=b'{"keys":["\xff"]}'),
    "a bomb": Reply(body=b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("name", list(NO_KEY_SETS))
def test_without_a_first_key_set_a_bearer_is_undecided_and_it_is_asked_for_again_soon(clock: Clock, name: str) -> None:
    with endpoint(lambda _asked: NO_KEY_SETS[name]) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url})
        token = shown(signed(RSA, "RS256", "k"))
        for _ in range(3):
            assert backend.authenticate(token) == Unavailable("no keys yet")
        assert len(issuer.asked) == 1
        issuer.answer = always(body=key_set(jwk(RSA, kid="k")))
        clock.now += 6
        assert backend.authenticate(token) == ALICE


def test_an_issuer_that_stalls_is_given_up(clock: Clock) -> None:
    with endpoint(always(body=key_set(jwk(RSA, kid="k")), stalls=True)) as issuer:
        started = time.monotonic()
        verdict = clock.backend(own={"jwks_url": issuer.url}).authenticate(shown(signed(RSA, "RS256", "k")))
        assert verdict == Unavailable("no keys yet")
        assert time.monotonic() - started < 50  # the issuer would stall for 60 s


def test_an_issuer_that_drips_is_given_up(clock: Clock) -> None:
    done = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            while not done.wait(0.1):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        backend = clock.backend(own={"jwks_url": f"http://127.0.0.1:{listener.getsockname()[1]}/"})
        started = time.monotonic()
        verdict = backend.authenticate(shown(signed(RSA, "RS256", "k")))
        took = time.monotonic() - started
        done.set()
        thread.join()
    assert (verdict, took < 50) == (Unavailable("no keys yet"), True)


def test_many_callers_at_once_ask_the_issuer_once(clock: Clock) -> None:
    gate = threading.Event()

    def slowly(_asked: Asked) -> Reply:
        gate.wait(5)
        return Reply(body=key_set(jwk(RSA, kid="k")))

    with endpoint(slowly) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url})
        verdicts: list[object] = []
        tokens = [shown(signed(RSA, "RS256", "k", jti=str(number))) for number in range(12)]
        threads = [threading.Thread(target=lambda it=it: verdicts.append(backend.authenticate(it))) for it in tokens]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(issuer.asked) == 1)
        gate.set()
        for thread in threads:
            thread.join()
        assert verdicts == [ALICE] * 12
        assert len(issuer.asked) == 1


WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  to be refused
USELESS: dict[str, object] = {
    "for encryption": jwk(RSA, kid="k", use="enc"),
    "not to verify with": jwk(RSA, kid="k", key_ops=["encrypt"]),
    "key_ops a text": jwk(RSA, kid="k", key_ops="verify"),
    "an unknown kty": jwk(RSA, kid="k") | {"kty": "LWE"},
    "symmetric": {"kty": "oct", "k": base64.urlsafe_b64encode(b"k" * 32).decode(), "kid": "k"},
    "kty a list": {"kty": ["RSA"], "kid": "k"},
    "too short": jwk(WEAK, kid="k"),
    "another curve": jwk(ec.generate_private_key(ec.SECP256K1()), kid="k"),
    "no object": "k",
    "no modulus": {"kty": "RSA", "e": "AQAB", "kid": "k"},
    "a point off the curve": jwk(EC["ES256"], kid="k") | {"x": "AAAA"},
    "n a number": {"kty": "RSA", "e": "AQAB", "n": 5, "kid": "k"},
    "kid a number": jwk(RSA) | {"kid": 5},
    "an alg of another kind": jwk(RSA, kid="k", alg="ES256"),
    "alg none": jwk(RSA, kid="k", alg="none"),
    "alg HS256": jwk(RSA, kid="k", alg="HS256"),
}


@pytest.mark.parametrize("name", list(USELESS))
def test_a_useless_key_is_left_out_and_the_others_serve(clock: Clock, name: str) -> None:
    with endpoint(always(body=key_set(USELESS[name], jwk(OTHER_RSA, kid="good")))) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url})
        assert backend.authenticate(shown(signed(OTHER_RSA, "RS256", "good"))) == ALICE
        clock.now += 5
        for key, algorithm in ((RSA, "RS256"), (WEAK, "RS256"), (EC["ES256"], "ES256")):
            with_short_keys = jwt.PyJWS()
            payload = json.dumps({"sub": "alice", "exp": int(time.time()) + 60}).encode()
            with pytest.warns() if key is WEAK else nullcontext():
                token = with_short_keys.encode(payload, key, algorithm, {"kid": "k"})
            assert isinstance(backend.authenticate(shown(token)), Refused)


def test_a_key_s_own_alg_narrows_the_list_and_never_widens_it(clock: Clock) -> None:
    with endpoint(always(body=key_set(jwk(RSA, kid="k", alg="PS256"), jwk(OTHER_RSA, kid="o", alg="RS512")))) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url, "algorithms": ["RS256", "PS256"]})
        assert backend.authenticate(shown(signed(RSA, "PS256", "k"))) == ALICE
        assert backend.authenticate(shown(signed(RSA, "RS256", "k"))) == Refused("algorithm not allowed")
        assert backend.authenticate(shown(signed(OTHER_RSA, "RS512", "o"))) == Refused("algorithm not allowed")


def test_keys_without_names_serve_any_kid_and_tokens_without_kid_try_all(clock: Clock) -> None:
    with endpoint(always(body=key_set(jwk(RSA), jwk(OTHER_RSA, kid="other")))) as issuer:
        backend = clock.backend(own={"jwks_url": issuer.url})
        assert backend.authenticate(shown(signed(RSA, "RS256", "whatever"))) == ALICE
        assert backend.authenticate(shown(signed(OTHER_RSA, "RS256"))) == ALICE


# rotation of files


def test_a_secret_file_is_changed_with_an_overlap_and_without_a_restart(clock: Clock, tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_text(SECRETS[0])
    old.write_text(SECRETS[0])
    backend = clock.backend(own={"secrets": [{"file": str(new)}, {"file": str(old)}]})
    tokens = [shown(signed(secret, "HS256")) for secret in SECRETS]

    def verdicts() -> list[bool]:
        clock.now += 1.1
        return [backend.authenticate(token) == ALICE for token in tokens]

    assert verdicts() == [True, False, False]
    replace(new, SECRETS[1])
    assert verdicts() == [True, True, False]
    replace(old, SECRETS[1])
    assert verdicts() == [False, True, False]  # remembered as it was


@pytest.mark.parametrize("useless", ["", "too short", pem(RSA).decode()], ids=["empty", "short", "a public key"])
def test_a_secret_file_that_becomes_no_secret_leaves_the_old_one(clock: Clock, tmp_path: Path, useless: str) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRETS[0])
    backend = clock.backend(own={"secret": {"file": str(path)}})
    replace(path, useless)
    clock.now += 1.1
    assert backend.authenticate(shown(signed(SECRETS[0], "HS256"))) == ALICE


def test_a_key_file_is_looked_at_once_a_second_at_most(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(RSA))
    backend = clock.backend(own={"public_key_file": str(path)})
    replace(path, pem(OTHER_RSA).decode())
    assert backend.authenticate(shown(signed(RSA, "RS256"))) == ALICE
    clock.now += 1.1
    assert backend.authenticate(shown(signed(RSA, "RS256"))) == Refused("bad signature")
    assert backend.authenticate(shown(signed(OTHER_RSA, "RS256"))) == ALICE


@pytest.mark.parametrize("broken", [b"", b"-----BEGIN PUBLIC KEY-----\n", b"\xff\xfe", None])
def test_a_key_file_that_becomes_unusable_leaves_the_old_key_and_is_logged_once(
    clock: Clock, tmp_path: Path, broken: bytes | None
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(RSA))
    backend = clock.backend(own={"public_key_file": str(path)})
    if broken is None:
        path.unlink()
    else:
        path.write_bytes(broken)
    with capture_logs() as logs:
        for account in ("alice", "bob", "carol"):
            clock.now += 1.1
            assert isinstance(backend.authenticate(shown(signed(RSA, "RS256", sub=account))), Authenticated)
    assert [(it["event"], it["issuer"]) for it in logs] == [("changed keys cannot be used; the old ones stay", "own")]
    replace(path, pem(OTHER_RSA).decode())
    clock.now += 1.1
    assert backend.authenticate(shown(signed(OTHER_RSA, "RS256"))) == ALICE


# memory


def test_a_remembered_token_ends_with_its_exp(tmp_path: Path) -> None:
    now = time.time()
    backend = JwtBearer({"own": JwtSettings.model_validate({"secret": SECRETS[0], "leeway_s": 0})}, now=lambda: now)
    token = shown(signed(SECRETS[0], "HS256", exp=int(now) + 100))
    assert [backend.authenticate(token) for _ in range(3)] == [ALICE] * 3
    now += 101
    assert [backend.authenticate(token) for _ in range(2)] == [Refused("expired")] * 2


def test_only_so_many_tokens_are_remembered_and_all_work(clock: Clock) -> None:
    backend = JwtBearer({"own": JwtSettings.model_validate({"secret": SECRETS[0]})}, remember=5)
    tokens = [shown(signed(SECRETS[0], "HS256", jti=str(number))) for number in range(20)]
    for _ in range(2):
        assert [backend.authenticate(token) for token in tokens] == [ALICE] * 20
    assert len(backend.memory or ()) == 5


def replace(path: Path, text: str) -> None:
    """As a rotation should do it: whole at once."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text)
    os.replace(fresh, path)  # noqa: PTH105


def wait_until(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.005)

"""The JWT that APNs wants: what is in it, and how long it is used."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from proxy.channels.apns.provider_token import fresh_enough, read_issued_at, sign_provider_token
from proxy.errors import BadSettings
from tests.channels.pushes import NOON

KEY = ec.generate_private_key(ec.SECP256R1())


def pem_of(key: PrivateKeyTypes, password: bytes = b"") -> str:
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode()


def test_a_provider_token_says_who_signed_it_and_when_and_nothing_else() -> None:
    provider_token = sign_provider_token(pem_of(KEY), "KEY4567890", "TEAM567890", NOON + timedelta(seconds=0.9))

    assert jwt.get_unverified_header(provider_token) == {"alg": "ES256", "kid": "KEY4567890"}
    claims = jwt.decode(provider_token, KEY.public_key(), ["ES256"], options={"verify_iat": False})
    assert claims == {"iss": "TEAM567890", "iat": int(NOON.timestamp())}
    assert isinstance(claims["iat"], int)


def test_the_time_of_signing_can_be_read_from_the_token() -> None:
    provider_token = sign_provider_token(pem_of(KEY).encode(), "KEY4567890", "TEAM567890", NOON)

    assert read_issued_at(provider_token) == NOON
    assert read_issued_at(provider_token).tzinfo is UTC


@pytest.mark.parametrize("claims", [{}, {"iat": "then"}, {"iat": None}, {"iat": 1e300}, {"iat": [1]}])
def test_what_is_no_provider_token_has_no_time_of_signing(claims: dict[str, object]) -> None:
    for text in ("", "a.b.c", "é", jwt.encode(claims, "k" * 32)):
        with pytest.raises(ValueError, match="no provider token"):
            read_issued_at(text)


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "secret",
        pem_of(rsa.generate_private_key(65537, 2048)),
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(KEY, b"password"),
    ],
    ids=["empty", "no pem", "rsa", "p-384", "locked"],
)
def test_another_key_is_refused_without_showing_it(pem: str) -> None:
    with pytest.raises(BadSettings) as caught:
        sign_provider_token(pem, "KEY4567890", "TEAM567890", NOON)

    assert caught.value.faults == ["apns key KEY4567890: expected a P-256 private key in PEM, as Apple's .p8 file"]


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(0), True),
        (timedelta(minutes=40), True),
        (timedelta(minutes=44, seconds=59), True),
        (timedelta(minutes=45), False),
        (timedelta(hours=3), False),
        (timedelta(minutes=-4), True),  # signed by a worker whose clock is ahead
        (timedelta(minutes=-6), False),
    ],
)
def test_a_token_is_renewed_between_40_and_50_minutes(age: timedelta, fresh: bool) -> None:
    assert fresh_enough(NOON, NOON + age) == fresh


def test_freshness_is_a_matter_of_time_not_of_time_zones() -> None:
    assert fresh_enough(NOON, datetime.fromisoformat("2026-11-23T20:40:00+08:00"))

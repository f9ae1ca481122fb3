"""The vectors were made with another AES and read back by the hash library of a public consumer of the callbacks."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.callbacks import CallbackOrigin
from proxy.mimc.authentication import Authenticity, authentic, is_authentic

SECRET = "b64-demo-secret+0123456789AB=="
APP_ID = "2882303761517000001"
TIMESTAMP = "1516763973000"
VALUE = "lSRe+2nN91bgK+SR9BPweFQpCGztJm5ozgPoQNrOp1FILzs4fKo4sS4gDYkRUr6O"
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
TEXT = st.sampled_from("AZaz09_-+/= \x00\né你😀\ud800²")
VECTORS = [
    (SECRET, TIMESTAMP, APP_ID, VALUE),
    (SECRET, "1516763973", "5800123456", "lbmjtz9KrJTV3HS/ZChDQVmhjZZzelXq4YnP0Z0cXzw="),
    (
        "PHqmE1sJ7uCk4eT0Yw9Zbg==",
        "1700000000123",
        "2882303761517999999",
        "EFwPc7m46x6pRUX15UQiv7PZqUVq9G7jmXR7vbBGpmCPrflW5fIZx2BzyuXWnV4I",
    ),
]


def sealed(clear: bytes, secret: str = SECRET) -> str:
    encryptor = Cipher(algorithms.AES(hashlib.md5(secret.encode()).digest()), modes.ECB()).encryptor()  # noqa: S305, S324
    return base64.b64encode(encryptor.update(clear) + encryptor.finalize()).decode()


def with_length(text: bytes, length: bytes | None = None) -> bytes:
    clear = (length if length is not None else len(text).to_bytes(4, "little")) + text
    return clear + bytes(-len(clear) % 16)


def origin(
    authentication: str | None = VALUE, app_ids: tuple[str, ...] = (APP_ID,), timestamp: str | None = TIMESTAMP
) -> CallbackOrigin:
    return CallbackOrigin(app_ids[0] if app_ids else None, app_ids, timestamp, authentication)


@pytest.mark.parametrize(("secret", "timestamp", "app_id", "value"), VECTORS)
def test_a_known_value_is_authentic_for_its_secret_app_and_timestamp(
    secret: str, timestamp: str, app_id: str, value: str
) -> None:
    assert is_authentic(value, secret, app_id, timestamp)
    assert not is_authentic(value, secret + "x", app_id, timestamp)
    assert not is_authentic(value, secret, app_id + "1", timestamp)


def test_the_maker_of_these_tests_seals_as_the_vectors_do() -> None:
    assert sealed(with_length(b"1516763973000_2882303761517000001")) == VALUE


@pytest.mark.parametrize(
    ("timestamp", "fits"),
    [
        ("1516763973000", True),
        ("1516764033000", True),  # a minute later
        ("1516763913000", True),  # a minute earlier
        ("1516764033001", False),
        ("1516763912999", False),
        ("1516763973", True),  # the same moment in seconds
        ("1516764034", False),
        (None, False),
        ("", False),
        ("soon", False),
        ("-1516763973000", False),
        ("1516763973000.0", False),
        ("9" * 5000, False),
        ("１５１６７６３９７３０００", False),
    ],
)
def test_the_sealed_timestamp_may_be_a_minute_from_the_callbacks_own(timestamp: str | None, fits: bool) -> None:
    assert is_authentic(VALUE, SECRET, APP_ID, timestamp) is fits


@pytest.mark.parametrize(
    "value",
    [
        "lSRe-2nN91bgK-SR9BPweFQpCGztJm5ozgPoQNrOp1FILzs4fKo4sS4gDYkRUr6O",  # the URL alphabet
        f" {VALUE[:40]}\r\n{VALUE[40:]}\n",
        sealed(with_length(b"1516763973000_2882303761517000001")).rstrip("="),
        sealed(with_length(b"1516763973000_2882303761517000001", (33).to_bytes(4, "big"))),
        sealed(with_length(b"1516763973000_2882303761517000001_more")),  # the known consumer reads two parts only
        sealed(with_length(b"1516763973000_2882303761517000001") + bytes(16)),
    ],
)
def test_a_value_may_be_written_in_other_ways(value: str) -> None:
    assert is_authentic(value, SECRET, APP_ID, TIMESTAMP)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "=",
        "no base64!",
        "é" * 64,
        "\ud800",
        VALUE[:-4],  # not a whole number of blocks
        VALUE[:32] + "AAAA" + VALUE[36:],
        VALUE + "A" * 5000,
        sealed(with_length(b"", b"\xff\xff\xff\xff")),
        sealed(with_length(b"", bytes(4))),
        sealed(with_length(b"1516763973000_2882303761517000001", (45).to_bytes(4, "little"))),  # past the end
        sealed(with_length(b"1516763973000_2882303761517000001", (44).to_bytes(4, "little"))),  # with the padding
        sealed(with_length(b"\xff\xfe\xfd")),
        sealed(with_length(b"1516763973000")),
        sealed(with_length(b"_2882303761517000001")),
        sealed(with_length(b"2882303761517000001_1516763973000")),
    ],
)
def test_anything_else_is_not_authentic(value: str) -> None:
    assert not is_authentic(value, SECRET, APP_ID, TIMESTAMP)


@RELAXED
@given(value=st.text(TEXT) | st.binary().map(lambda raw: base64.b64encode(raw).decode()), timestamp=st.text(TEXT))
def test_no_text_whatever_is_authentic_or_an_exception(value: str, timestamp: str) -> None:
    assert not is_authentic(value, SECRET, APP_ID, timestamp)
    assert authentic(origin(value, timestamp=timestamp), APP_ID, SECRET) is not Authenticity.VALID


@RELAXED
@given(clear=st.binary(min_size=16, max_size=64).map(lambda raw: raw[: len(raw) // 16 * 16]))
def test_any_clear_bytes_are_judged_without_an_exception(clear: bytes) -> None:
    assert not is_authentic(sealed(clear), SECRET, APP_ID, TIMESTAMP)


@pytest.mark.parametrize(
    ("given_claim", "secret", "verdict"),
    [
        (origin(), SECRET, Authenticity.VALID),
        (origin(None), SECRET, Authenticity.ABSENT),
        (origin(""), SECRET, Authenticity.ABSENT),
        (origin(), "another", Authenticity.INVALID),
        (origin("nonsense"), SECRET, Authenticity.INVALID),
        (origin(timestamp=None), SECRET, Authenticity.INVALID),
        (origin("nonsense", app_ids=()), SECRET, Authenticity.INVALID),
        # from another app, ours or another developer's: made with its secret, or with that of the reader's app
        (origin(app_ids=("7", APP_ID)), SECRET, Authenticity.VALID),
        (origin("nonsense", app_ids=("99", APP_ID)), SECRET, Authenticity.ABSENT),
    ],
)
def test_a_claim_is_judged_by_the_secret_of_the_app_that_it_was_posted_for(
    given_claim: CallbackOrigin, secret: str, verdict: Authenticity
) -> None:
    assert authentic(given_claim, APP_ID, secret) is verdict


@pytest.mark.parametrize("app_ids", [(APP_ID, "7"), ("7", APP_ID), (APP_ID,)])
def test_the_secret_of_another_app_of_ours_proves_nothing(app_ids: tuple[str, ...]) -> None:
    """Whatever the body names beside: VALUE was made with the secret of APP_ID, and is posted for the app 7."""
    assert authentic(origin(app_ids=app_ids), "7", "seven") is Authenticity.ABSENT


def test_a_claim_shows_its_authentication_to_no_log() -> None:
    assert VALUE not in repr(origin())

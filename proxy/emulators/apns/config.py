"""The settings of the emulated APNs: section [apns] of config/emulators.toml."""

from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, ValidationInfo

from proxy.emulators.settings import AT_LEAST_ONE, ClockOffset, Port, RootedPath, Text, matching
from proxy.settings.fields import Section, rooted

Environment = Literal["production", "sandbox"]
Excess = Literal["goaway", "refuse", "count"]

AppleId = Annotated[str, matching(r"[A-Z0-9]{10}", "ten capital letters and digits")]
BundleId = Annotated[str, matching(r"[A-Za-z0-9.-]+", "a bundle id like com.example.chat")]
Delay = Annotated[int, Field(ge=0, le=24 * 3600 * 1000)]
Streams = Annotated[int, Field(ge=0, le=2**31 - 1)]


def _read_key(given: object, info: ValidationInfo) -> ec.EllipticCurvePublicKey:
    """The key in a PEM text, or in the PEM file at a path: public, or the private .p8."""
    if not isinstance(given, str) or not given:
        raise ValueError("expected the path of a PEM file, or PEM text")
    try:
        pem = given.encode() if "-----BEGIN" in given else rooted(given, info).read_bytes()
        key = load_pem_private_key(pem, None).public_key() if b"PRIVATE KEY" in pem else load_pem_public_key(pem)
    except (OSError, ValueError, TypeError):  # TypeError: a PEM that wants a password
        raise ValueError("expected a readable PEM file or PEM text") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("expected a P-256 key")
    return key


class SigningKey(Section):
    """A provider's key, for one environment or both."""

    key_id: AppleId
    key: Annotated[InstanceOf[ec.EllipticCurvePublicKey], BeforeValidator(_read_key)]
    environment: Environment | None = None


class Team(Section):
    """A developer team: its keys, and the bundle ids that it may push to."""

    team_id: AppleId
    keys: Annotated[tuple[SigningKey, ...], AT_LEAST_ONE]
    topics: Annotated[tuple[BundleId, ...], AT_LEAST_ONE]


def _different_keys(teams: tuple[Team, ...]) -> tuple[Team, ...]:
    key_ids = [key.key_id for team in teams for key in team.keys]
    if len(set(key_ids)) < len(key_ids):
        raise ValueError("two keys have the same key_id")
    return teams


class ApnsConfig(Section):
    """What to serve and how. A port of 0 takes a free one; `token_updates` 0 never limits new provider tokens.

    `excess` says what a stream over the limit gets: "goaway" (REFUSED_STREAM until the client has acknowledged the
    limit, GOAWAY after that), "refuse" (always REFUSED_STREAM) or "count" (served, and counted).
    `clock_offset_s` is how far its clock is ahead: in `date`, which answers carry (RFC 9110, 6.6.1; Apple documents no
    such header), and in what it thinks of a provider token's age.
    """

    teams: Annotated[tuple[Team, ...], AT_LEAST_ONE, AfterValidator(_different_keys)]
    tls_folder: RootedPath
    environment: Environment = "sandbox"
    host: Text = "127.0.0.1"
    port: Port = 0
    control_port: Port = 0
    delay_ms: Delay = 30
    initial_streams: Streams = 1
    raised_streams: Streams = 1000
    settings_delay_ms: Delay = 0
    excess: Excess = "goaway"
    token_updates: Annotated[int, Field(ge=0, le=1_000_000)] = 2
    token_window_s: Annotated[int, Field(ge=1, le=86400)] = 1200
    clock_offset_s: ClockOffset = 0.0

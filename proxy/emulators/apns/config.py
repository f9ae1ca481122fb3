"""All that the emulated APNs can be told at start.

[[teams]]
team_id = "TEAM123456"
topics = ["com.example.chat"]                              # bundle ids
keys = [{ key_id = "KEY1234567", key = "apns-key.p8" }]    # and perhaps environment = "production"
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from proxy.emulators.sections import Section

Environment = Literal["production", "sandbox"]
Excess = Literal["goaway", "refuse", "count"]

_APPLE_ID = re.compile(r"[A-Z0-9]{10}")
_BUNDLE_ID = re.compile(r"[A-Za-z0-9.-]+")
_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True)
class SigningKey:
    """A provider's key: PEM text or the path of a PEM file, public or the private .p8; for one environment or both."""

    key_id: str
    key: str = field(repr=False)
    environment: Environment | None = None


@dataclass(frozen=True)
class Team:
    """A developer team: its keys, and the bundle ids that it may push to."""

    team_id: str
    keys: tuple[SigningKey, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True)
class ApnsConfig:
    """What to serve and how. A port of 0 takes a free one; `token_updates` 0 never limits new provider tokens.

    `excess` says what a stream over the limit gets: "goaway" (REFUSED_STREAM until the client has acknowledged the
    limit, GOAWAY after that), "refuse" (always REFUSED_STREAM) or "count" (served, and counted).
    `clock_offset_s` is how far its clock is ahead: in `date`, which answers carry (RFC 9110, 6.6.1; Apple documents no
    such header), and in what it thinks of a provider token's age.
    """

    teams: tuple[Team, ...]
    tls_folder: Path
    environment: Environment = "sandbox"
    host: str = "127.0.0.1"
    port: int = 0
    control_port: int = 0
    delay_ms: int = 30
    initial_streams: int = 1
    raised_streams: int = 1000
    settings_delay_ms: int = 0
    excess: Excess = "goaway"
    token_updates: int = 2
    token_window_s: int = 1200
    clock_offset_s: float = 0.0

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> "ApnsConfig":
        """Read a TOML section. Raises BadSettings with all faults."""
        section = Section(values)
        config = cls(
            teams=tuple(_read_team(team) for team in section.tables("teams")),
            tls_folder=Path(section.text("tls_folder")),
            environment=cast(Environment, section.choice("environment", get_args(Environment), cls.environment)),
            host=section.text("host", cls.host),
            port=section.integer("port", cls.port, 0, 65535),
            control_port=section.integer("control_port", cls.control_port, 0, 65535),
            delay_ms=section.integer("delay_ms", cls.delay_ms, 0, _DAY_MS),
            initial_streams=section.integer("initial_streams", cls.initial_streams, 0, 2**31 - 1),
            raised_streams=section.integer("raised_streams", cls.raised_streams, 0, 2**31 - 1),
            settings_delay_ms=section.integer("settings_delay_ms", cls.settings_delay_ms, 0, _DAY_MS),
            excess=cast(Excess, section.choice("excess", get_args(Excess), cls.excess)),
            token_updates=section.integer("token_updates", cls.token_updates, 0, 1_000_000),
            token_window_s=section.integer("token_window_s", cls.token_window_s, 1, 86400),
            clock_offset_s=section.number("clock_offset_s", cls.clock_offset_s, -1_000_000, 1_000_000),
        )
        if not config.teams:
            section.fault("teams", "expected at least one team")
        key_ids = [key.key_id for team in config.teams for key in team.keys]
        if len(set(key_ids)) < len(key_ids):
            section.fault("teams", "two keys have the same key_id")
        section.finish()
        return config


def _read_team(section: Section) -> Team:
    team = Team(
        team_id=_apple_id(section, "team_id"),
        keys=tuple(_read_key(key) for key in section.tables("keys")),
        topics=section.texts("topics"),
    )
    if not team.keys:
        section.fault("keys", "expected at least one key")
    if not team.topics or not all(_BUNDLE_ID.fullmatch(topic) for topic in team.topics):
        section.fault("topics", "expected at least one bundle id, and nothing else")
    section.finish()
    return team


def _read_key(section: Section) -> SigningKey:
    environment = section.optional_text("environment")
    if environment not in (None, *get_args(Environment)):
        section.fault("environment", f"expected one of {', '.join(get_args(Environment))}")
    key = SigningKey(_apple_id(section, "key_id"), section.text("key"), cast(Environment | None, environment))
    section.finish()
    return key


def _apple_id(section: Section, member: str) -> str:
    value = section.text(member)
    if value and not _APPLE_ID.fullmatch(value):
        section.fault(member, "expected ten capital letters and digits")
    return value

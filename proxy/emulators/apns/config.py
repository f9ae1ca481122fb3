"""All that the emulated APNs can be told at start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

Environment = Literal["production", "sandbox"]
Excess = Literal["goaway", "refuse", "count"]

_AppleId = Annotated[str, Field(pattern=r"^[A-Z0-9]{10}$")]
_BundleId = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$")]
_Port = Annotated[int, Field(ge=0, le=65535)]
_Count = Annotated[int, Field(ge=0, lt=2**31)]
_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)


def _alone(key: object) -> object:
    return {"key": key} if isinstance(key, str) else key


@dataclass(frozen=True)
class SigningKey:
    """A provider's key: PEM text or the path of a PEM file, public or the private .p8; one environment's, or both's."""

    __pydantic_config__ = _STRICT
    key: str = field(repr=False)
    environment: Environment | None = None


@dataclass(frozen=True)
class Team:
    """A developer team: its keys by key id, and the bundle ids that it may push to."""

    __pydantic_config__ = _STRICT
    team_id: _AppleId
    keys: Annotated[dict[_AppleId, Annotated[SigningKey, BeforeValidator(_alone)]], Field(min_length=1)]
    topics: Annotated[tuple[_BundleId, ...], Field(min_length=1)]


@dataclass(frozen=True)
class ApnsConfig:
    """What to serve and how. A port of 0 takes a free one; `token_updates` 0 never limits new provider tokens.

    `excess` says what a stream over the limit gets: "goaway" (REFUSED_STREAM until the client has acknowledged the
    limit, GOAWAY after that), "refuse" (always REFUSED_STREAM) or "count" (served, and counted).
    """

    __pydantic_config__ = _STRICT
    teams: Annotated[tuple[Team, ...], Field(min_length=1)]
    tls_folder: Path
    environment: Environment = "sandbox"
    host: str = "127.0.0.1"
    port: _Port = 0
    control_port: _Port = 0
    delay_ms: _Count = 30
    initial_streams: _Count = 1
    raised_streams: _Count = 1000
    settings_delay_ms: _Count = 0
    excess: Excess = "goaway"
    token_updates: _Count = 2
    token_window_s: _Count = 1200

    @classmethod
    def from_mapping(cls, section: Mapping[str, Any], folder: Path | None = None) -> Self:
        """Read a TOML section; relative paths in it start at `folder`. Raises ValueError naming every fault at once."""
        try:
            config = TypeAdapter(cls).validate_python(_rooted(section, folder) if folder else dict(section))
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, e['loc'])) or 'section'}: {e['msg']}" for e in error.errors())
            raise ValueError("; ".join(faults)) from None  # the original shows the input, which may hold a key
        key_ids = [key_id for team in config.teams for key_id in team.keys]
        if twice := sorted({key_id for key_id in key_ids if key_ids.count(key_id) > 1}):
            raise ValueError(f"teams: key id in use twice: {', '.join(twice)}")
        return config


def _rooted(section: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    rooted = dict(section)
    if isinstance(rooted.get("tls_folder"), str | Path):
        rooted["tls_folder"] = folder / rooted["tls_folder"]
    if isinstance(rooted.get("teams"), list):
        rooted["teams"] = [_rooted_team(team, folder) if isinstance(team, dict) else team for team in rooted["teams"]]
    return rooted


def _rooted_team(team: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    def root(key: object) -> object:
        match key:
            case str() if not is_pem(key):
                return str(folder / key)
            case {"key": str(path), **rest} if not is_pem(path):
                return {"key": str(folder / path), **rest}
        return key

    keys = team.get("keys")
    return {**team, "keys": {name: root(key) for name, key in keys.items()}} if isinstance(keys, dict) else dict(team)


def is_pem(key: str) -> bool:
    return "-----BEGIN" in key

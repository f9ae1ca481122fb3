"""The emulated APNs reads its teams and keys from a mapping, and names all faults in it at once."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.emulators.apns import ApnsConfig
from proxy.emulators.apns.answers import Answer
from proxy.emulators.apns.tokens import ProviderTokens, provider_keys
from tests.emulators.apns_peer import (
    KEY_ID,
    OTHER_KEY_ID,
    OTHER_TEAM,
    TEAM,
    TOPIC,
    private_pem,
    provider_token,
    public_pem,
    section,
)
from tests.emulators.config_faults import faults_of

NOW = 1_793_534_400
MINUTE = 60


def test_the_defaults_are_those_of_apple(tmp_path: Path) -> None:
    teams = [{"team_id": TEAM, "topics": [TOPIC], "keys": [{"key_id": KEY_ID, "key": public_pem()}]}]
    config = ApnsConfig.model_validate({"teams": teams, "tls_folder": str(tmp_path)})
    assert (config.initial_streams, config.raised_streams, config.excess) == (1, 1000, "goaway")
    assert (config.token_updates, config.token_window_s, config.delay_ms) == (2, 1200, 30)
    assert (config.host, config.port, config.control_port) == ("127.0.0.1", 0, 0)


def test_all_faults_are_named_at_once_and_no_key_is_shown() -> None:
    keys = [{"key_id": KEY_ID, "kee": private_pem()}, {"key_id": "7", "key": private_pem(), "environment": "both"}]
    team = {"team_id": "team", "topics": ["no bundle id"], "keys": keys}
    settings = {"teams": [team, {"team_id": TEAM}], "port": 70000, "excess": "shrug", "dealy_ms": 3}
    assert faults_of(ApnsConfig, settings) == [
        "teams.0.team_id: expected ten capital letters and digits",
        "teams.0.keys.0.key: missing, and it has no default",
        'teams.0.keys.0.kee: unknown key; did you mean "key"?',
        "teams.0.keys.1.key_id: expected ten capital letters and digits",
        "teams.0.keys.1.environment: input should be 'production' or 'sandbox'",
        "teams.0.topics.0: expected a bundle id like com.example.chat",
        "teams.1.keys: missing, and it has no default",
        "teams.1.topics: missing, and it has no default",
        "tls_folder: missing, and it has no default",
        "port: input should be less than or equal to 65535",
        "excess: input should be 'goaway', 'refuse' or 'count'",
        'dealy_ms: unknown key; did you mean "delay_ms"?',
    ]


def test_a_configuration_without_a_team_is_refused(tmp_path: Path) -> None:
    assert faults_of(ApnsConfig, {"tls_folder": str(tmp_path)}) == ["teams: missing, and it has no default"]
    assert faults_of(ApnsConfig, {"teams": [], "tls_folder": str(tmp_path)}) == ["teams: expected at least one"]


def test_a_key_does_not_show_in_the_repr(tmp_path: Path) -> None:
    assert "KEY-----" not in repr(ApnsConfig.model_validate(section(tmp_path)))


def test_a_key_id_belongs_to_one_team(tmp_path: Path) -> None:
    team = section(tmp_path)["teams"][0]
    teams = [team, {**team, "team_id": OTHER_TEAM}]
    assert faults_of(ApnsConfig, section(tmp_path, teams=teams)) == ["teams: two keys have the same key_id"]


def test_a_key_may_lie_in_a_file_private_or_public(tmp_path: Path) -> None:
    (tmp_path / "a.p8").write_text(private_pem())
    (tmp_path / "b.pem").write_text(public_pem(OTHER_KEY_ID))
    keys = [
        {"key_id": KEY_ID, "key": "a.p8"},  # from the folder of the settings
        {"key_id": OTHER_KEY_ID, "key": str(tmp_path / "b.pem"), "environment": "sandbox"},
    ]
    teams = [{"team_id": TEAM, "topics": [TOPIC], "keys": keys}]
    loaded = provider_keys(
        ApnsConfig.model_validate({"teams": teams, "tls_folder": "tls"}, context={"folder": tmp_path})
    )
    assert [(key_id, key.environment) for key_id, key in loaded.items()] == [(KEY_ID, None), (OTHER_KEY_ID, "sandbox")]


def _wrong_curve() -> str:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("missing.p8", "expected a readable PEM file or PEM text"),
        ("-----BEGIN PUBLIC KEY-----\nabc", "expected a readable PEM file or PEM text"),
        (_wrong_curve(), "expected a P-256 key"),
        (7, "expected the path of a PEM file, or PEM text"),
    ],
    ids=["no file", "no key", "another curve", "no text"],
)
def test_a_key_that_cannot_be_used_is_a_fault(tmp_path: Path, key: object, fault: str) -> None:
    teams = [{"team_id": TEAM, "topics": [TOPIC], "keys": [{"key_id": KEY_ID, "key": key}]}]
    assert faults_of(ApnsConfig, {"teams": teams, "tls_folder": str(tmp_path)}) == [f"teams.0.keys.0.key: {fault}"]


@pytest.fixture
def tokens(tmp_path: Path) -> ProviderTokens:
    config = ApnsConfig.model_validate(section(tmp_path))
    return ProviderTokens(provider_keys(config), "sandbox", updates=2, window_s=20 * MINUTE)


def check(tokens: ProviderTokens, token: str, now: float) -> str | None:
    """The reason of the refusal, None for a token that is taken."""
    found = tokens.check(f"bearer {token}", now)
    return found.reason if isinstance(found, Answer) else None


def test_a_provider_token_serves_for_an_hour_and_not_longer(tokens: ProviderTokens) -> None:
    token = provider_token(issued_at=NOW)
    assert check(tokens, token, NOW) is None
    assert check(tokens, token, NOW + 60 * MINUTE) is None
    assert check(tokens, token, NOW + 60 * MINUTE + 1) == "ExpiredProviderToken"


def test_new_provider_tokens_come_at_most_twice_in_twenty_minutes(tokens: ProviderTokens) -> None:
    first, second, third = (provider_token(issued_at=NOW + n) for n in range(3))
    assert check(tokens, first, NOW) is None
    assert check(tokens, second, NOW + 5 * MINUTE) is None
    assert check(tokens, third, NOW + 6 * MINUTE) == "TooManyProviderTokenUpdates"
    assert check(tokens, first, NOW + 7 * MINUTE) is None  # the old ones still serve
    assert check(tokens, third, NOW + 20 * MINUTE) is None
    assert tokens.updates_seen == 3


def test_each_team_has_its_own_count_of_new_provider_tokens(tokens: ProviderTokens) -> None:
    for n in range(2):
        assert check(tokens, provider_token(issued_at=NOW + n), NOW) is None
        assert check(tokens, provider_token(OTHER_KEY_ID, OTHER_TEAM, NOW + n), NOW) is None
    assert check(tokens, provider_token(issued_at=NOW + 9), NOW) == "TooManyProviderTokenUpdates"


def test_a_refused_provider_token_is_no_update(tokens: ProviderTokens) -> None:
    for _ in range(9):
        assert check(tokens, provider_token(issued_at=NOW, signed_by=OTHER_KEY_ID), NOW) == "InvalidProviderToken"
    assert (check(tokens, provider_token(issued_at=NOW), NOW), tokens.updates_seen) == (None, 1)


@pytest.mark.parametrize("missing", ["iss", "iat"])
def test_a_provider_token_needs_its_claims(tokens: ProviderTokens, missing: str) -> None:
    claims: dict[str, Any] = {"iss": TEAM, "iat": NOW}
    del claims[missing]
    token = jwt.encode(claims, private_pem(), algorithm="ES256", headers={"kid": KEY_ID})
    assert check(tokens, token, NOW) == "InvalidProviderToken"


def test_the_emulator_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "key.p8").write_text(private_pem())
    (tmp_path / "apns.toml").write_text(
        f'[apns]\ntls_folder = "tls"\n[[apns.teams]]\nteam_id = "{TEAM}"\ntopics = ["{TOPIC}"]\n'
        f'keys = [{{ key_id = "{KEY_ID}", key = "key.p8" }}]\n'
    )
    command = [sys.executable, "-m", "proxy", "emulate", "apns", "--config", str(tmp_path / "apns.toml")]
    with (
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process,
        requests.Session() as session,
    ):
        assert process.stdout
        announced = json.loads(process.stdout.readline())
        session.trust_env = False
        journal = session.get(f"http://127.0.0.1:{announced['control_port']}/_emulator/journal", timeout=60).json()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert announced.keys() == {"emulator", "port", "control_port", "ca_file"}
    assert (announced["emulator"], announced["ca_file"]) == ("apns", str(tmp_path / "tls" / "emulator-ca.pem"))
    assert (journal["entries"], journal["counters"]["connections"]) == ([], 0)
    assert (process.returncode, rest) == (0, "")

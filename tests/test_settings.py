from typing import Any

import pytest
from pydantic import ValidationError

from proxy.settings import (
    AppSettings,
    AuthSettings,
    MipushSettings,
    RelaySettings,
    ServerSettings,
    Settings,
    StoreSettings,
)

APP: dict[str, Any] = {"app_id": 2882303761517000001, "app_key": "k", "app_secret": "s", "url_secret": "u" * 16}
JWT = {"jwt": {"own": {"secret": "x" * 32}}}


def test_secrets_are_masked_in_every_repr() -> None:
    settings = Settings.model_validate({"auth": JWT, "apps": {"main": {**APP, "app_secret": "canary"}}})
    assert "canary" not in f"{settings!r} {settings} {settings.model_dump()}"


def test_a_proxy_s_password_is_in_no_repr() -> None:
    app = AppSettings.model_validate({**APP, "proxy": "http://user:canary@10.0.0.1:3128"})
    assert app.proxy == "http://user:canary@10.0.0.1:3128"
    assert "canary" not in f"{app!r} {app}"


@pytest.mark.parametrize("rest", [":can/ary@host:6379/0", "host:canary/0", "[canary/0", "user:can#ary@host"])
def test_an_address_that_is_no_url_is_told_without_its_password(rest: str) -> None:
    for model, document in (
        (StoreSettings, {"url": f"redis://{rest}"}),
        (MipushSettings, {"app_secret": "s", "package": "com.example", "proxy": f"http://{rest}"}),
    ):
        with pytest.raises(ValidationError, match=r"not a URL; in a name or password") as failure:
            model.model_validate(document)
        assert "canary" not in str(failure.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RelaySettings().__setattr__("lease_s", 3)


@pytest.mark.parametrize("app_id", ["", "12a", "1" * 21, True, 1.5, "１２"])
def test_an_app_id_is_digits(app_id: object) -> None:
    with pytest.raises(ValidationError):
        AppSettings.model_validate({**APP, "app_id": app_id})


def test_a_long_app_id_keeps_all_its_digits() -> None:
    assert AppSettings.model_validate(APP).app_id == "2882303761517000001"


@pytest.mark.parametrize("url_secret", ["short", "u" * 15, "with/slash/and/more", "with space in the middle"])
def test_a_url_secret_is_long_and_fits_in_a_path(url_secret: str) -> None:
    with pytest.raises(ValidationError):
        AppSettings.model_validate({**APP, "url_secret": url_secret})


def test_a_signing_key_has_at_least_the_bytes_of_its_hash() -> None:
    with pytest.raises(ValidationError, match="at least 32 bytes"):
        AuthSettings.model_validate({"jwt": {"own": {"secret": "x" * 31}}})


def test_without_any_proof_of_a_user_nothing_starts() -> None:
    with pytest.raises(ValidationError, match=r"add the section \[auth.jwt.NAME\]"):
        AuthSettings()


def test_sections_of_one_app_id_share_its_credentials_and_nothing_shares_a_url_secret() -> None:
    apps = {"main": APP, "twin": {**APP, "app_key": "k2", "app_secret": "s2"}}
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"auth": JWT, "apps": apps})
    for told in ("twin.app_key: differs from that of main", "twin.app_secret: differs", "twin.url_secret: is also"):
        assert told in str(caught.value)
    twin = {**APP, "url_secret": "v" * 16}
    assert len(Settings.model_validate({"auth": JWT, "apps": {"main": APP, "twin": twin}}).apps) == 2


def test_without_an_app_nothing_starts() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Settings.model_validate({"auth": JWT, "apps": {}})


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ({"lease_s": 14}, "lease_s"),
        ({"silence_s": 10}, "silence_s"),
        ({"marks_life_s": 334}, "marks_life_s"),
        ({"backoff_first_s": 301}, "backoff_most_s"),
        ({"heartbeat_s": 0}, "heartbeat_s"),
        ({"lease_s": "inf"}, "lease_s"),
    ],
)
def test_times_that_do_not_fit_are_refused(times: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RelaySettings.model_validate(times)


@pytest.mark.parametrize(("effect", "missing"), [("2", "intent_uri"), ("3", "web_uri")])
def test_what_a_tap_opens_must_be_given(effect: str, missing: str) -> None:
    given = {"app_secret": "s", "package": "p", "notify_effect": effect}
    with pytest.raises(ValidationError, match=f"{missing}: required"):
        MipushSettings.model_validate(given)
    assert MipushSettings.model_validate({**given, missing: "https://chat.example"}).notify_effect == effect


@pytest.mark.parametrize("variables", [{}, {str(number): "text" for number in range(10)}, {"a": "nonsense"}])
def test_a_template_has_one_to_nine_known_variables(variables: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="variables"):
        MipushSettings.model_validate(
            {"app_secret": "s", "package": "p", "template": {"id": "P1", "variables": variables}}
        )


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.1:99999", "host:port", ":80", "::1:80", "http://x:80"])
def test_an_address_to_listen_at_is_host_and_port(bind: str) -> None:
    with pytest.raises(ValidationError, match="expected host:port"):
        ServerSettings(bind=bind)


def test_ipv6_and_names_are_addresses_to_listen_at() -> None:
    assert ServerSettings(bind="[::1]:0", operator_bind="proxy-1.local:80").bind == "[::1]:0"

import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from pydantic import ValidationError

from proxy.configuration import fault_lines
from proxy.settings import (
    ApnsSettings,
    AppSettings,
    AuthSettings,
    HttpSettings,
    MipushSettings,
    ProfileSettings,
    RelaySettings,
    ServerSettings,
    Settings,
    StoreSettings,
    WebhookSettings,
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


@pytest.mark.parametrize(
    "url",
    [
        "redis://host:6379/0?protocol=3",
        "redis://host?decode_responses=True",
        "redis://host?socket_timeout=60",
        "unix:///run/store.sock?retry_on_timeout=yes",
        "redis://host?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/store.sock?db=canary",
        "redis+sentinel://host/mymaster?ssl_ca_certs=/etc/ca.pem",
        "rediss+sentinel://host/mymaster?socket_timeout=60",
        "redis+sentinel://host/mymaster?sentinel_retry=canary",
        "redis://host?sentinel_password=canary",
        "redis+cluster://host?db=1",
        "redis+cluster://host/?read_from_replicas=canary",
        "redis+cluster://host/?ssl_ca_certs=/etc/ca.pem",
        "rediss+cluster://host/?require_full_coverage=no",
    ],
)
def test_an_option_of_the_store_s_address_that_would_override_ours_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="after its \\?") as failure:
        StoreSettings.model_validate({"url": url})
    assert "canary" not in str(failure.value)


@pytest.mark.parametrize(
    "url",
    [
        "unix://user:pw@/run/store.sock?db=3",
        "redis://host:6379?db=1&client_name=proxy",
        f"rediss://host?ssl_ca_certs={__file__}&ssl_check_hostname=false",
        "redis+sentinel://user:pw@one:26379,two,[::1]:1/mymaster/3?client_name=proxy&sentinel_password=pw",
        f"rediss+sentinel://one/mymaster?ssl_ca_certs={__file__}&ssl_certfile={__file__}&ssl_keyfile={__file__}",
        "redis+cluster://user:pw@one:7000,two,[::1]:1/?client_name=proxy",
        f"rediss+cluster://:pw@one/0?ssl_ca_certs={__file__}&ssl_certfile={__file__}&ssl_keyfile={__file__}",
    ],
)
def test_a_store_s_address_may_say_which_database_and_how_to_trust_it(url: str) -> None:
    assert StoreSettings.model_validate({"url": url}).url.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://canary", "must start with redis://, rediss://, unix://, redis\\+sentinel://, rediss"),
        ("redis+cluster://host/3?password=canary", "must have nothing behind the hosts"),
        ("redis+cluster://one,,two/?password=canary", "not a URL"),
        ("redis+cluster://:can/ary@one/", "not a URL"),
        ("redis+cluster://one:canary/", "not a URL"),
        ("redis+sentinel://canary", "must name the service after the sentinels"),
        ("redis+sentinel://one/canary and more", "must name the service"),
        ("redis+sentinel://one/mymaster/canary", "must have the database's number"),
        ("redis+sentinel://:can/ary@one/mymaster", "not a URL; in a name or password"),
        ("redis+sentinel://:can#ary@one/mymaster", "not a URL"),
        ("redis+sentinel://one,,two/mymaster?password=canary", "not a URL"),
        ("redis+sentinel://one:canary/mymaster", "not a URL"),
        ("redis+sentinel://one:70000/mymaster?password=canary", "not a URL"),
        ("rediss://host?ssl_ca_certs=/nowhere/canary.pem", "ssl_ca_certs after its \\?: no readable file there"),
        ("rediss+sentinel://one/mymaster?ssl_certfile=/nowhere/canary.pem", "ssl_certfile after its"),
    ],
)
def test_a_store_s_address_that_cannot_be_used_is_told_without_what_it_holds(url: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told) as failure:
        StoreSettings.model_validate({"url": url})
    assert "canary" not in str(failure.value)


APNS: dict[str, Any] = {"team_id": "ABCDE12345", "key_id": "FGHIJ67890", "key_file": "key.p8", "topic": "com.example"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"team_id": "abcde12345"}, "expected ten capital letters and digits as Apple shows them, like ABCDE12345"),
        ({"key_id": "FGHIJ6789"}, "expected ten capital letters and digits"),
        ({"topic": "com.example chat"}, "expected the app's bundle id, like com.example.chat"),
        ({"sandbox_key_id": "KLMNO12345"}, "sandbox_key_file: missing"),
        ({"sandbox_key_file": "key.p8"}, "sandbox_key_id: missing"),
        (
            {"sandbox": False, "sandbox_key_id": "KLMNO12345", "sandbox_key_file": "key.p8"},
            "sandbox_key_id: has no use while sandbox is false",
        ),
    ],
)
def test_an_apns_section_is_refused_in_plain_words(tmp_path: Path, changes: dict[str, object], problem: str) -> None:
    (tmp_path / "key.p8").write_text("any")
    with pytest.raises(ValidationError, match=re.escape(problem)) as failure:
        ApnsSettings.model_validate({**APNS, **changes}, context={"folder": tmp_path})
    assert "pattern" not in str(failure.value)


def test_the_sandbox_is_on_and_may_have_a_key_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "key.p8").write_text("any")
    own = {"sandbox_key_id": "KLMNO12345", "sandbox_key_file": "key.p8"}
    assert ApnsSettings.model_validate(APNS, context={"folder": tmp_path}).sandbox
    section = ApnsSettings.model_validate({**APNS, **own}, context={"folder": tmp_path})
    assert (section.sandbox_key_id, section.sandbox_key_file) == ("KLMNO12345", tmp_path / "key.p8")


SENDER = {"url": "https://push.example.com/alerts", "secret": f"whsec_{'A' * 32}"}
NAMED: dict[str, object] = {"name": "crm", "app": "main"}
NO_ADDRESS = "url: expected an address like https://push.example.com/alerts"
NO_SECRET = "expected whsec_ and 24 to 64 bytes in base64"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        *(({"url": url}, NO_ADDRESS) for url in (
            "push.example.com", "ftp://push.example.com/", "https:///alerts", "https://me:hunter2@push.example.com/",
            "https://push.example.com/#a", "https://push.example.com\\@10.0.0.1/", "https://push.example.com/a b",
            "https://push.example.com:0/", "https://[::1/", "https://push.example.com/" + "a" * 2048,
        )),
        ({"url": "http://push.example.com/"}, "url: must be https"),
        ({"url": "http://127.example.com/"}, "url: must be https"),
        *(({"url": f"https://{host}/"}, "url: is an address that is not public") for host in (
            "10.0.0.5", "169.254.169.254", "[fd00::1]", "[::ffff:10.0.0.5]", "0.0.0.0",  # noqa: S104
        )),
        ({"url": "https://10.0.0.5/", "allowed_networks": ["192.168.0.0/16"]}, "url: is an address that is not public"),
        ({"secret": None}, "secret: missing; or secrets"),
        *(({"secret": secret}, NO_SECRET) for secret in ("A" * 32, "whsec_", "whsec_AAAA", "whsec_" + "A" * 100,
                                                         "whsec_" + "*" * 32, "whsk_" + "A" * 32)),
        ({"secrets": [f"whsec_{'A' * 32}"] * 9}, "secrets"),
    ],
)  # fmt: skip
def test_a_section_of_ones_own_sender_is_refused_in_plain_words(changes: dict[str, object], problem: str) -> None:
    for section, named in ((HttpSettings, {}), (ProfileSettings, {}), (WebhookSettings, NAMED)):
        with pytest.raises(ValidationError) as failure:
            section.model_validate({**SENDER, **named, **changes})
        assert any(problem in line for line in fault_lines(failure.value, section, {}))
        assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"url": "http://127.0.0.1:8605/alerts"},
        {"url": "http://localhost:8605/alerts"},
        {"url": "https://[::1]/alerts"},
        {"url": "https://10.0.0.5/", "allowed_networks": ["10.0.0.0/8"]},
        {"url": "http://sender.internal/", "allow_plain": True},
        {"url": "https://8.8.8.8/alerts?key=s"},
        {"secret": None, "secrets": [f"whsec_{'A' * 32}", f"whsec_{'B' * 86}=="]},
    ],
)
def test_a_section_of_ones_own_sender_may_be_written_so(changes: dict[str, object]) -> None:
    assert HttpSettings.model_validate({**SENDER, **changes}).all_secrets
    assert ProfileSettings.model_validate({**SENDER, **changes}).all_secrets
    assert WebhookSettings.model_validate({**SENDER, **NAMED, **changes}).all_secrets


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"app": "other"}, "webhooks.1.app: names no section under [apps]"),
        ({"name": "crm"}, "webhooks.1.name: is also that of another"),
        ({"name": "a/b"}, "webhooks.1.name: expected 1 to 32 letters"),
        ({"kinds": ["OFFLINE"]}, "webhooks.1.kinds.0: input should be"),
        ({"kinds": []}, "webhooks.1.kinds: "),
        ({"topics": ["a group"]}, "webhooks.1.topics.0: expected 1 to 20 digits"),
        ({"keep": 3}, 'webhooks.1.keep: unknown key; did you mean "keep_s"?'),
    ],
)
def test_a_webhook_is_refused_in_plain_words(changes: dict[str, object], problem: str) -> None:
    document = {
        "auth": {"jwt": {"own": {"secret": "k" * 40}}},
        "apps": {"main": {"app_id": 1, "app_key": "k", "app_secret": "s", "url_secret": "u" * 16}},
        "webhooks": [{**SENDER, **NAMED}, {**SENDER, **NAMED, "name": "second", **changes}],
    }
    with pytest.raises(ValidationError) as failure:
        Settings.model_validate(document)
    lines = fault_lines(failure.value, Settings, {})
    assert lines[0].startswith(problem)


def test_the_sections_of_an_app_are_its_channels() -> None:
    sections = {"http": SENDER, "profiles": SENDER, "mipush": {"app_secret": "s", "package": "p"}}
    app = AppSettings.model_validate({**APP, **sections})
    assert {name: section.by_account for name, section in app.channels.items()} == {"mipush": True, "http": False}


@pytest.mark.parametrize(
    ("store", "dedupe_ttl_s", "fits"),
    [
        ({}, 335, True),
        ({"spool_max_age_s": 86_400}, 335, True),  # no folder, no spool
        ({"spool_dir": "spool"}, 86_400, True),
        ({"spool_dir": "spool"}, 43_534, False),
        ({"spool_dir": "spool", "spool_max_age_s": 60}, 395, True),
        ({"spool_dir": "spool", "spool_max_age_s": 60.5}, 395, False),
    ],
)
def test_a_mark_lives_longer_than_a_callback_may_lie_in_the_spool(
    store: dict[str, object], dedupe_ttl_s: int, fits: bool
) -> None:
    document = {"auth": JWT, "apps": {"main": APP}, "store": store, "relay": {"dedupe_ttl_s": dedupe_ttl_s}}
    if fits:
        assert Settings.model_validate(document, context={"folder": "/etc/proxy"})
    else:
        with pytest.raises(ValidationError, match=r"relay\.dedupe_ttl_s: at least 335 \+ store\.spool_max_age_s"):
            Settings.model_validate(document)


def test_the_spool_s_folder_starts_at_the_configuration_s() -> None:
    document = {"auth": JWT, "apps": {"main": APP}, "store": {"spool_dir": "spool"}}
    settings = Settings.model_validate(document, context={"folder": "/etc/proxy"})
    assert settings.store.spool_dir == Path("/etc/proxy/spool")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RelaySettings().__setattr__("lease", 3)


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


def public_pem(key: Any) -> bytes:
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(serialization.Encoding.PEM, info))


PRIVATE = ec.generate_private_key(ec.SECP256R1())
PEMS = {
    "ec.pem": public_pem(PRIVATE),
    "ed.pem": public_pem(ed25519.Ed25519PrivateKey.generate()),
    "k1.pem": public_pem(ec.generate_private_key(ec.SECP256K1())),
    "dh.pem": public_pem(x25519.X25519PrivateKey.generate()),
    "short.pem": public_pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505
    "private.pem": PRIVATE.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ),
    "text.pem": b"no key",
}
JWKS = "https://id.example.com/jwks.json"


@pytest.mark.parametrize(
    ("issuer", "told"),
    [
        ({}, "either secrets or public_key_files or a jwks_url"),
        ({"secret": "x" * 32, "jwks_url": JWKS}, "either secrets or public_key_files or a jwks_url"),
        ({"secret": "x" * 32, "public_key_file": "ec.pem"}, "either secrets or"),
        ({"secrets": ["x" * 32, "y" * 31]}, "secrets: at least 32 bytes"),
        ({"secret": "x" * 47, "algorithms": ["HS384"]}, "secret: at least 48 bytes"),
        ({"secret": "x" * 63, "algorithms": ["HS256", "HS512"]}, "secret: at least 64 bytes"),
        ({"secret": {"file": "ec.pem"}}, "is a key in PEM, not a secret"),
        ({"secret": "x" * 32, "algorithms": ["RS256"]}, "algorithms: RS256 need a public key"),
        ({"jwks_url": JWKS, "algorithms": ["RS256", "HS256"]}, "algorithms: HS256 are for secrets"),
        ({"public_key_file": "ec.pem", "algorithms": ["HS256"]}, "algorithms: HS256 are for secrets"),
        ({"public_key_file": "ec.pem", "algorithms": ["ES384", "RS256"]}, "a key for ES256"),
        ({"public_key_files": ["ec.pem", "ed.pem"], "algorithms": ["ES256"]}, "a key for EdDSA"),
        ({"secret": "x" * 32, "algorithms": ["none"]}, "algorithms"),
        ({"public_key_file": "text.pem"}, "no public key in PEM"),
        ({"public_key_file": "private.pem"}, "holds a private key"),
        ({"public_key_file": "short.pem"}, "at least 2048 bits"),
        ({"public_key_file": "k1.pem"}, "a curve other than"),
        ({"public_key_file": "dh.pem"}, "neither RSA nor EC"),
        ({"public_key_file": "absent.pem"}, "no readable file"),
        ({"jwks_url": "http://id.example.com/jwks.json"}, "jwks_url: must be https"),
        ({"jwks_url": "file:///etc/passwd"}, "expected an address like"),
        ({"jwks_url": "https://id.example.com:x/"}, "not a URL"),
        ({"secret": "x" * 32, "account_claim": "a..b"}, "account_claim"),
        ({"secret": "x" * 32, "leeway_s": 301}, "leeway_s"),
    ],
)
def test_an_issuer_whose_keys_and_algorithms_do_not_fit_is_refused(
    tmp_path: Path, issuer: dict[str, object], told: str
) -> None:
    for name, content in PEMS.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValidationError, match=re.escape(told)) as failure:
        AuthSettings.model_validate({"jwt": {"own": issuer}}, context={"folder": tmp_path})
    assert "x" * 32 not in str(failure.value)


def test_a_key_set_may_come_by_http_from_this_machine_or_where_it_is_said_to_be_safe() -> None:
    for issuer in (
        {"jwks_url": "http://127.0.0.1:9400/jwks"},
        {"jwks_url": "http://localhost:9400/jwks"},
        {"jwks_url": "http://keycloak:8080/certs/", "allow_plain": True},
    ):
        assert AuthSettings.model_validate({"jwt": {"own": issuer}}).jwt["own"].jwks_url == issuer["jwks_url"]


def test_keys_outside_of_an_issuer_s_section_are_told_where_they_belong() -> None:
    with pytest.raises(ValidationError, match=r"a section of its own, \[auth.jwt.NAME\]"):
        AuthSettings.model_validate({"jwt": {"secret": "x" * 32}})


def test_an_issuer_is_bound_to_an_app_that_exists() -> None:
    bound = {"jwt": {"own": {"secret": "x" * 32, "app": "mian"}}}
    with pytest.raises(ValidationError, match=r"auth\.jwt\.own\.app: names no section under"):
        Settings.model_validate({"auth": bound, "apps": {"main": APP}})


def test_without_any_proof_of_a_user_nothing_starts() -> None:
    with pytest.raises(ValidationError, match=r"add the section \[auth.jwt.NAME\]"):
        AuthSettings()


def test_of_several_sections_of_one_app_id_one_names_the_server_of_names() -> None:
    sections = {"main": {**APP, "profiles": SENDER}, "twin": {**APP, "url_secret": "t" * 16}}
    assert Settings.model_validate({"auth": JWT, "apps": sections}).apps["twin"].profiles is None
    sections["twin"]["profiles"] = SENDER
    with pytest.raises(ValidationError, match=r"twin\.profiles: main, which has the same app_id, has the section"):
        Settings.model_validate({"auth": JWT, "apps": sections})


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
        ({"silence_min_s": 10}, "silence_min_s"),
        ({"heartbeat_s": 7.5, "push_timeout_s": 5}, "heartbeat_s"),
        ({"drain_s": 9.9}, "drain_s"),
        ({"dedupe_ttl_s": 334}, "dedupe_ttl_s"),
        ({"backoff_initial_s": 301}, "backoff_max_s"),
        ({"heartbeat_s": 0}, "heartbeat_s"),
        ({"lease_s": "inf"}, "lease_s"),
    ],
)
def test_times_that_do_not_fit_are_refused(times: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RelaySettings.model_validate(times)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"token": {"timeout_s": 10}}, "token.timeout_s"),
        ({"store": {"timeout_s": 10}}, "store.timeout_s"),
        (
            {"auth": {"introspection": {"url": "https://app.example.com/whoami", "timeout_s": 10}}},
            "auth.introspection.timeout_s",
        ),
    ],
)
def test_a_request_ends_before_gunicorn_would_end_it(section: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"auth": JWT, "apps": {"main": APP}, **section})
    faults = caught.value.errors()[0]["ctx"]["error"].faults
    assert [key for key, _ in faults] == [told]


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

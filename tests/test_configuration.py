import json
import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.configuration import load_settings, taken_from_platform
from proxy.errors import BadSettings
from proxy.settings import (
    AlertSettings,
    ApnsSettings,
    AppSettings,
    AuthSettings,
    CallbackSettings,
    DeviceSettings,
    HttpSettings,
    IntrospectionSettings,
    JwtSettings,
    LimitSettings,
    LogSettings,
    MessageSettings,
    MipushSettings,
    ProfileSettings,
    RelaySettings,
    Section,
    ServerSettings,
    Settings,
    StoreSettings,
    TemplateSettings,
    TokenSettings,
    TypeSettings,
    WebhookSettings,
    WordsSettings,
)

CONFIG = Path(__file__).parent.parent / "config"
TEMPLATE_SECRETS = {
    "AUTH_JWT_SECRET": "k" * 40,
    "MIMC_APP_ID": "2882303761517000001",
    "MIMC_APP_KEY": "an-app-key",
    "MIMC_APP_SECRET": "an-app-secret",
    "MIMC_URL_SECRET": "u" * 24,
}
SMALL = """
[auth.jwt.own]
secret = "0123456789012345678901234567890123456789"
[apps.chat-app]
app_id = 2882303761517000001
app_key = "an-app-key"
app_secret = "an-app-secret"
url_secret = "abcdefghijklmnopqrstuvwx"
"""


def load(tmp_path: Path, text: str = SMALL, **environ: str) -> Settings:
    path = tmp_path / "proxy.toml"
    path.write_text(text)
    return load_settings(path, environ)


def faults_of(tmp_path: Path, text: str = SMALL, **environ: str) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        load(tmp_path, text, **environ)
    return caught.value.faults


def test_the_shipped_file_loads_once_its_secrets_are_given() -> None:
    settings = load_settings(CONFIG / "proxy.toml", TEMPLATE_SECRETS)
    assert settings.apps["main"].app_id == "2882303761517000001"


def test_the_untouched_file_says_what_to_fill_in() -> None:
    with pytest.raises(BadSettings) as caught:
        load_settings(CONFIG / "proxy.toml", {})
    assert caught.value.faults == [
        "auth.jwt.own.secret: the environment has no variable AUTH_JWT_SECRET",
        "apps.main.app_id: the environment has no variable MIMC_APP_ID",
        "apps.main.app_key: the environment has no variable MIMC_APP_KEY",
        "apps.main.app_secret: the environment has no variable MIMC_APP_SECRET",
        "apps.main.url_secret: the environment has no variable MIMC_URL_SECRET",
    ]


def uncommented() -> dict[str, Any]:
    """The shipped file with every commented key and section switched on."""
    text = (CONFIG / "proxy.toml").read_text()
    return tomllib.loads(re.sub(r"(?m)^# (?=\[\[?[a-z_.]+\]\]?$|[a-z_]+ = \S)", "", text.partition("[server]")[2]))


def sections_of_the_file() -> Iterator[tuple[type[Section], dict[str, Any]]]:
    document = uncommented()
    app = document["apps"]["main"]
    yield from (
        (
            ServerSettings,
            {key: value for key, value in document.items() if not isinstance(value, dict) and key != "webhooks"},
        ),
        (StoreSettings, document["store"]),
        (AuthSettings, document["auth"]),
        (JwtSettings, document["auth"]["jwt"]["own"]),
        (IntrospectionSettings, document["auth"]["introspection"]),
        (AppSettings, app),
        (MessageSettings, app["messages"]),
        (TypeSettings, app["messages"]["types"]["order_paid"]),
        (WordsSettings, app["messages"]["words"]["fr"]),
        (ApnsSettings, app["apns"]),
        (MipushSettings, app["mipush"]),
        (TemplateSettings, app["mipush"]["template"]),
        (TemplateSettings, app["mipush"]["group_template"]),
        (HttpSettings, app["http"]),
        (ProfileSettings, app["profiles"]),
        (WebhookSettings, document["webhooks"][0]),
        (TokenSettings, document["token"]),
        (LimitSettings, document["limits"]),
        (CallbackSettings, document["callbacks"]),
        (DeviceSettings, document["devices"]),
        (AlertSettings, document["alerts"]),
        (RelaySettings, document["relay"]),
        (LogSettings, document["logs"]),
    )


@pytest.mark.parametrize(("section", "shown"), list(sections_of_the_file()))
def test_the_shipped_file_shows_every_key_with_its_default(section: type[Section], shown: dict[str, Any]) -> None:
    fields = {field.alias or name: field for name, field in section.model_fields.items()}
    assert shown.keys() == fields.keys()
    for key, field in fields.items():
        default = field.get_default()
        if isinstance(default, timedelta):
            assert key.endswith("_s")
            default = default.total_seconds()
        if isinstance(default, str | int | float | tuple) and not field.is_required():
            assert shown[key] == (list(default) if isinstance(default, tuple) else default), key


def test_the_local_file_wants_only_what_a_local_run_generates(tmp_path: Path) -> None:
    (tmp_path / "key.p8").write_text("any")
    settings = load_settings(
        CONFIG / "local.toml",
        {
            "APP_PROXY_AUTH__JWT__TRIAL__SECRET": "k" * 40,
            "APP_PROXY_APPS__DEMO__URL_SECRET": "u" * 24,
            "APP_PROXY_APPS__DEMO__APNS__KEY_FILE": str(tmp_path / "key.p8"),
        },
    )
    assert re.fullmatch(r"[0-9]{19}", settings.apps["demo"].app_id)


def test_the_argument_comes_before_the_variable_before_the_usual_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    for name, workers in (("config/proxy", 3), ("other", 4), ("third", 5)):
        (tmp_path / f"{name}.toml").write_text(f"{SMALL}\n[server]\nworkers = {workers}")
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={}).server.workers == 3
    assert load_settings(environ={"APP_PROXY_CONFIG": "other.toml"}).server.workers == 4
    assert load_settings(Path("third.toml"), {"APP_PROXY_CONFIG": "other.toml"}).server.workers == 5


def test_a_missing_file_is_named_with_the_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"no configuration file at .*absent\.toml; `app-proxy init`"):
        load_settings(tmp_path / "absent.toml", {})


def test_a_syntax_error_is_told_with_its_line(tmp_path: Path) -> None:
    assert "at line 2" in faults_of(tmp_path, "[server]\nbind = my-canary")[0]
    assert "my-canary" not in faults_of(tmp_path, "[server]\nbind = my-canary")[0]


def test_a_file_that_is_not_utf8_or_not_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe4"')
    with pytest.raises(BadSettings, match="not UTF-8"):
        load_settings(tmp_path / "latin.toml", {})
    with pytest.raises(BadSettings, match=r"cannot read .*IsADirectoryError"):
        load_settings(tmp_path, {})


def test_every_fault_is_told_at_once_and_a_mistyped_key_with_its_neighbour(tmp_path: Path) -> None:
    text = SMALL + "[relay]\nlease_s = 3\nsilence_min_s = 30\n[stoer]\n[logs]\nlevle = 'info'\n[server]\nworkers = 0"
    assert faults_of(tmp_path, text, APP_PROXY_RELAY__LEASES="1") == [
        'APP_PROXY_RELAY__LEASES: unknown variable; did you mean "APP_PROXY_RELAY__LEASE_S"?',
        "server.workers: input should be greater than or equal to 1",
        "relay.lease_s: must exceed push_timeout_s + heartbeat_s, or two workers send one push",
        "relay.heartbeat_s: must be under half of lease_s: one may fail",
        "relay.silence_min_s: must be under push_timeout_s, or it never strikes",
        'logs.levle: unknown key; did you mean "level"?',
        'stoer: unknown key; did you mean "store"?',
    ]


def test_a_mistyped_key_of_an_app_gets_a_neighbour_from_its_own_section(tmp_path: Path) -> None:
    text = SMALL + "base_ulr = 'x'\n[apps.chat-app.mipush]\nappsecret = 'y'\npackage = 'z'"
    assert faults_of(tmp_path, text) == [
        "apps.chat-app.mipush.app_secret: missing, and it has no default",
        'apps.chat-app.mipush.appsecret: unknown key; did you mean "app_secret"?',
        'apps.chat-app.base_ulr: unknown key; did you mean "base_url"?',
    ]


@pytest.mark.parametrize(
    ("section", "former", "now"),
    [
        ("relay", "marks_life_s", "dedupe_ttl_s"),
        ("relay", "alert_life_s", "alert_ttl_s"),
        ("relay", "unknown_account_life_s", "unknown_account_ttl_s"),
        ("auth.accounts", "access_life_s", "access_ttl_s"),
        ("auth.accounts", "refresh_life_s", "refresh_ttl_s"),
        ("devices", "forget_share", "removal_guard_share"),
        ("devices", "forget_at_least", "removal_guard_min"),
        ("relay", "backoff_first_s", "backoff_initial_s"),
        ("relay", "backoff_most_s", "backoff_max_s"),
        ("relay", "silence_s", "silence_min_s"),
    ],
)
def test_a_setting_s_former_name_is_refused_with_its_new_one(
    tmp_path: Path, section: str, former: str, now: str
) -> None:
    text = f"{SMALL}[auth.accounts]\nkey = '{'k' * 32}'\n"
    header = "" if section == "auth.accounts" else f"[{section}]\n"
    assert faults_of(tmp_path, f"{text}{header}{former} = 1") == [f"{section}.{former}: is called {now} now"]
    prefix = f"APP_PROXY_{section.upper().replace('.', '__')}__"
    told = [f"{prefix}{former.upper()}: is called {prefix}{now.upper()} now"]
    assert faults_of(tmp_path, text, **{prefix + former.upper(): "1"}) == told


def test_a_single_underscore_between_levels_is_a_fault(tmp_path: Path) -> None:
    told = ['APP_PROXY_STORE_URL: unknown variable; did you mean "APP_PROXY_STORE__URL"?']
    assert faults_of(tmp_path, APP_PROXY_STORE_URL="redis://x") == told


@pytest.mark.parametrize("service", ["APP_PROXY", "APP_PROXY_WEB"])
def test_what_kubernetes_tells_of_a_service_of_our_name_is_passed_over(tmp_path: Path, service: str) -> None:
    told = {
        "SERVICE_HOST": "10.0.0.11", "SERVICE_PORT": "8080", "SERVICE_PORT_HTTP": "8080", "PORT": "tcp://10.0.0.11:8080",
        "PORT_8080_TCP": "tcp://10.0.0.11:8080", "PORT_8080_TCP_PROTO": "tcp", "PORT_8080_TCP_PORT": "8080",
        "PORT_8080_TCP_ADDR": "10.0.0.11",
    }  # fmt: skip
    variables = {f"{service}_{name}": text for name, text in told.items()}
    assert load(tmp_path, **variables).model_dump() == load(tmp_path).model_dump()
    (fault,) = faults_of(tmp_path, APP_PROXY_PORT="8080")  # an operator's
    assert fault.startswith("APP_PROXY_PORT: unknown variable")


def test_variables_override_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        APP_PROXY_STORE__URL="redis://:pw@store:6379/1",
        APP_PROXY_RELAY__LEASE_S="20",
        APP_PROXY_SERVER__ALLOWED_ORIGINS="https://a.example, https://b.example",
        APP_PROXY_APPS__CHAT_APP__APP_KEY="123e456",
        APP_PROXY_APPS__CHAT_APP__MIPUSH__APP_SECRET="{not json}",
        APP_PROXY_APPS__CHAT_APP__MIPUSH__PACKAGE="com.example",
        APP_PROXY_APPS__CHAT_APP__MIPUSH__TEMPLATE__ID="P1",
        APP_PROXY_APPS__CHAT_APP__MIPUSH__TEMPLATE__VARIABLES='{"name": "sender"}',
    )
    app = settings.apps["chat-app"]
    assert settings.store.url.get_secret_value() == "redis://:pw@store:6379/1"
    assert settings.relay.lease == timedelta(seconds=20)
    assert settings.server.allowed_origins == ("https://a.example", "https://b.example")
    assert app.app_key.get_secret_value() == "123e456"
    assert app.mipush is not None
    assert app.mipush.app_secret.get_secret_value() == "{not json}"
    assert app.mipush.template is not None
    assert app.mipush.template.variables == {"name": "sender"}


def test_an_app_may_come_from_variables_alone(tmp_path: Path) -> None:
    start = "APP_PROXY_APPS__OTHER__"
    settings = load(
        tmp_path,
        **{f"{start}APP_ID": "77", f"{start}APP_KEY": "k", f"{start}APP_SECRET": "s", f"{start}URL_SECRET": "v" * 16},
    )
    assert settings.apps.keys() == {"chat-app", "other"}


def test_an_issuer_may_come_from_variables_alone_and_add_to_the_file_s(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 40)
    start = "APP_PROXY_AUTH__JWT__"
    settings = load(
        tmp_path,
        **{f"{start}OWN__LEEWAY_S": "5", f"{start}OTHER__SECRET__FILE": "key", f"{start}OTHER__ISSUER": "https://x"},
    )
    own, other = settings.auth.jwt["own"], settings.auth.jwt["other"]
    assert (own.leeway, other.issuer) == (timedelta(seconds=5), "https://x")
    assert [secret.get_secret_value() for secret in other.all_secrets] == ["k" * 40]


def test_a_variable_of_the_time_before_issuers_had_names_is_told(tmp_path: Path) -> None:
    [told] = faults_of(tmp_path, APP_PROXY_AUTH__JWT__KEY="k" * 40)
    assert told.startswith("APP_PROXY_AUTH__JWT__KEY: unknown variable; did you mean")


def test_a_secret_file_replaces_the_file_s_secret_and_starts_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" from-the-file\n")
    by_variable = load(tmp_path, APP_PROXY_APPS__CHAT_APP__APP_SECRET__FILE="secret")
    by_key = load(tmp_path, SMALL.replace('"an-app-secret"', '{ file = "secret" }'))
    for settings in (by_variable, by_key):
        assert settings.apps["chat-app"].app_secret.get_secret_value() == "from-the-file"


def test_a_reference_is_replaced_by_a_variable_as_a_whole(tmp_path: Path) -> None:
    text = SMALL.replace('"an-app-secret"', '{ file = "absent" }')
    settings = load(tmp_path, text, APP_PROXY_APPS__CHAT_APP__APP_SECRET="x")
    assert settings.apps["chat-app"].app_secret.get_secret_value() == "x"


def test_two_variables_for_one_key_are_a_fault(tmp_path: Path) -> None:
    environ = {"APP_PROXY_AUTH__JWT__OWN__SECRET": "k" * 40, "APP_PROXY_AUTH__JWT__OWN__SECRET__FILE": "k"}
    told = "APP_PROXY_AUTH__JWT__OWN__SECRET__FILE: sets the same key as APP_PROXY_AUTH__JWT__OWN__SECRET"
    assert faults_of(tmp_path, **environ) == [told]


def test_a_fault_of_a_variable_s_value_names_the_variable(tmp_path: Path) -> None:
    assert faults_of(tmp_path, APP_PROXY_SERVER__WORKERS="many") == [
        "server.workers (from APP_PROXY_SERVER__WORKERS): "
        "input should be a valid integer, unable to parse string as an integer"
    ]


def test_key_files_start_at_the_configuration_s_folder(tmp_path: Path) -> None:
    apns = '[apps.chat-app.apns]\nteam_id="ABCDE12345"\nkey_id="ABCDE12345"\ntopic="t"\nkey_file="keys/a.p8"'
    assert faults_of(tmp_path, SMALL + apns) == [
        f"apps.chat-app.apns.key_file: no readable file at {tmp_path}/keys/a.p8"
    ]
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "a.p8").write_text("a key")
    found = load(tmp_path, SMALL + apns).apps["chat-app"].apns
    assert found is not None
    assert found.key_file == tmp_path / "keys" / "a.p8"


CANARY = "cAnArY0123456789cAnArY0123456789"
WRONG = [
    CANARY,
    [CANARY],
    {"file": f"-----BEGIN {CANARY}"},
    {"env": CANARY},
    {"value": CANARY},
    {"file": CANARY, "x": 1},
]
SECRET_PLACES = [
    ("auth", "jwt", "key"),
    *(("auth", "jwt", "own", key) for key in ("secret", "public_key_file", "jwks_url")),
    *(("apps", "main", key) for key in ("app_id", "app_key", "app_secret", "url_secret", "apns", "mipush", "http")),
    ("apps", "main", "apns", "key_file"),
    ("apps", "main", "mipush", "app_secret"),
    *(("apps", "main", "http", key) for key in ("url", "secret", "proxy")),
    ("store", "url"),
]


@given(st.sampled_from(SECRET_PLACES), st.sampled_from(WRONG))
def test_no_fault_repeats_what_was_written_where_a_secret_belongs(place: tuple[str, ...], wrong: object) -> None:
    document: dict[str, Any] = {"relay": {"lease_s": 1}}
    inner = document
    for key in place[:-1]:
        inner = inner.setdefault(key, {})
    inner[place[-1]] = wrong
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(document, context={"environ": {}, "folder": "/nowhere"})
    assert CANARY not in str(caught.value).replace(f"/nowhere/{CANARY}", "")  # a path that does not exist is named


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("PORT", "5000", "server.bind", "0.0.0.0:5000"),
        ("REDIS_URL", "redis://there:6379/0", "store.url", "redis://there:6379/0"),
        ("WEB_CONCURRENCY", "7", "server.workers", "7"),
    ],
)
@pytest.mark.parametrize("own", ["nothing", "a key", "a variable"])
def test_what_a_platform_sets_is_taken_where_nothing_of_ours_says_otherwise(
    tmp_path: Path, variable: str, text: str, key: str, value: str, own: str
) -> None:
    section, name = key.split(".")
    ours = {"server.bind": "127.0.0.1:1", "store.url": "redis://ours", "server.workers": "3"}[key]
    written = f"{name} = {ours if name == 'workers' else json.dumps(ours)}" if own == "a key" else ""
    environ = {variable: text, **({f"APP_PROXY_{section}__{name}".upper(): ours} if own == "a variable" else {})}
    found = getattr(getattr(load(tmp_path, f"{SMALL}[{section}]\n{written}\n", **environ), section), name)
    assert str(getattr(found, "get_secret_value", lambda: found)()) == (value if own == "nothing" else ours)
    assert taken_from_platform(tmp_path / "proxy.toml", environ) == ({variable: key} if own == "nothing" else {})


def test_a_platform_s_variable_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    assert "server.bind (from PORT)" in faults_of(tmp_path, PORT="http")[0]

"""What `app-proxy doctor` looks at beside the questions of check-config."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from flask import Flask

from proxy.certificates import ends_in_file
from proxy.check_config import Finding, advice_for, ask_clocks, inspect_ages, inspect_environment
from proxy.domain.times import TOLERATED_SKEW
from proxy.emulators.certificates import Certificates, ensure_certificates
from proxy.emulators.server import threaded_server
from proxy.settings import Settings
from proxy.store.connection import Store
from proxy.store.server.clocks import clock_commands
from tests.test_check_config import served

NOW = datetime.now(UTC).replace(microsecond=0)


def settings_of(**app: object) -> Settings:
    secret = {"secret": "k" * 40}
    main = {"app_id": "1", "app_key": "k", "app_secret": "s", "url_secret": "u" * 16, "base_url": "http://127.0.0.1:1"}
    return Settings.model_validate({"auth": {"jwt": {"own": secret}}, "apps": {"main": main | app}})


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return ensure_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(certificates: Certificates) -> Iterator[str]:
    server = threaded_server(Flask(__name__), "127.0.0.1", 0)
    server.socket = certificates.server_context().wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("left", "verdict", "says"),
    [
        (timedelta(days=31, hours=1), "ok", "good until"),
        (timedelta(days=29, hours=1), "warning", "29 days"),
        (timedelta(hours=1), "warning", "0 days"),
        (timedelta(seconds=-1), "fault", "ended on"),
    ],
)
def test_the_end_of_a_certificate_is_told_a_month_before(
    certificates: Certificates, server: str, left: timedelta, verdict: str, says: str
) -> None:
    """Both that of a server and that of the authority which signed it; the clock is moved, not they."""
    (end,) = ends_in_file(certificates.certificate)
    settings = settings_of(base_url=server, ca_file=str(certificates.ca_file))
    found = {it.place: it for it in inspect_ages(settings, end - left)}
    assert found.keys() == {"apps.main.base_url", "apps.main.ca_file"}
    assert found["apps.main.base_url"].verdict == verdict
    assert says in found["apps.main.base_url"].text
    assert f"{end:%Y-%m-%d}" in found["apps.main.base_url"].text


def test_what_is_no_certificate_has_no_end_and_who_does_not_answer_none_either(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN PUBLIC KEY-----\n")
    assert ends_in_file(tmp_path / "key.pem") == []
    settings = settings_of(base_url="https://127.0.0.1:1", ca_file=str(tmp_path / "key.pem"))
    assert list(inspect_ages(settings, NOW)) == []


def test_a_clock_that_differs_from_a_service_s_is_a_fault_and_one_that_a_process_found_a_warning(
    store_url: str,
) -> None:
    date = format_datetime(NOW - 2 * TOLERATED_SKEW)
    with served(("", 200, {"Date": date})) as wrong, served(("", 200)) as right:
        mipush = {"app_secret": "s", "package": "p", "base_url": right}
        settings = settings_of(base_url=wrong, mipush=mipush)
        store = settings.store.model_copy(update={"url": type(settings.store.url)(store_url)})
        settings = settings.model_copy(update={"store": store})
        Store(store_url).call(
            lambda redis: clock_commands(redis, {"mimc": timedelta(hours=1)}, TOLERATED_SKEW, NOW, "web-1").execute()
        )
        found = {it.place: it for it in ask_clocks(settings)}
    assert {place: it.verdict for place, it in found.items()} == {
        "clock": "ok",
        "clock of web-1 by mimc": "warning",
        "apps.main.base_url": "fault",
        "apps.main.mipush.base_url": "ok",
    }
    assert "ahead of 127.0.0.1:" in found["apps.main.base_url"].text


def test_another_distribution_with_our_package_is_named(tmp_path: Path) -> None:
    for name, file in (("proxy.py", "proxy/http/handler.py"), ("innocent", "proxying/__init__.py")):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "RECORD").write_text(f"{file},,\n")
    (found,) = inspect_environment([str(tmp_path)])
    assert (found.verdict, found.place) == ("fault", "environment")
    assert found.text.startswith("proxy.py has a package `proxy` too")
    assert "by pipx, or in a new venv" in found.text
    assert [it.verdict for it in inspect_environment()] == ["ok"]


@pytest.mark.parametrize(
    ("finding", "says"),
    [
        (Finding("warning", "apps.main.app_secret", "x is open to everyone (mode 644): chmod 600 it"), "chmod 600 it"),
        (Finding("fault", "store.url", "the store did not answer"), "start the store"),
        (Finding("fault", "apps.main.base_url", "the TLS certificate of a is not trusted; ca_file ..."), "ca_file"),
        (Finding("fault", "apps.main.apns.production_url", "a answers BadTopic"), "developer.apple.com"),
        (Finding("warning", "apps.main.mipush.channel_id", "says what to do itself"), ""),
    ],
)
def test_there_is_advice_where_a_finding_gives_none(finding: Finding, says: str) -> None:
    assert (says in advice_for(finding)) if says else (advice_for(finding) == "")

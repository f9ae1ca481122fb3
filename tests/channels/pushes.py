"""Pushes, alerts and settings for the tests of the wires."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from proxy.domain.alerts import Alert, AlertText, Order
from proxy.domain.callbacks import digest
from proxy.domain.devices import ApnsEnvironment, Device, Platform
from proxy.domain.jobs import Job, Push
from proxy.domain.transfers import Response
from proxy.settings import ApnsSettings, HttpSettings, MipushSettings

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DEVICE_TOKEN = "0a1B" * 16
SECRET = "vErYsEcReT"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"a-key-that-signs-webhooks").decode()


def apns_settings(**changes: Any) -> ApnsSettings:
    # any readable file will do: a wire never opens the key
    fixed: dict[str, Any] = {"team_id": "TEAM567890", "key_id": "KEY4567890", "key_file": Path(__file__)}
    return ApnsSettings.model_validate({**fixed, "topic": "com.example.chat", **changes})


def mipush_settings(**changes: Any) -> MipushSettings:
    return MipushSettings.model_validate({"app_secret": SECRET, "package": "com.example.chat", **changes})


def http_settings(**changes: Any) -> HttpSettings:
    fixed = {"url": f"https://push.example.com/alerts?key={SECRET}", "secret": WEBHOOK_SECRET}
    return HttpSettings.model_validate({**fixed, **changes})


def an_alert(title: str = "Li Lei", body: str = "hello", conversation: str = "p2p:lilei", sequence: int = 7) -> Alert:
    return Alert(
        message_id=digest("message", str(sequence)),
        conversation=conversation,
        text=AlertText(title, body),
        order=Order(sequence, 0, 0),
        expires_at=NOON + timedelta(hours=24),
    )


def a_fold(count: int = 3, alert: Alert | None = None) -> Alert:
    folded = (alert or an_alert()).folded()
    return replace(folded, text=replace(folded.text, count=count))


def to_device(
    alert: Alert | None = None,
    push_token: str = DEVICE_TOKEN,
    environment: ApnsEnvironment = ApnsEnvironment.PRODUCTION,
    platform: Platform = Platform.APNS,
) -> Push:
    device = Device("main", "alice", "phone", platform, push_token, NOON, environment)
    return Push(Job("main", platform, "alice", "phone", alert or an_alert()), device)


def to_regid(push_token: str, alert: Alert | None = None) -> Push:
    return to_device(alert, push_token, platform=Platform.MIPUSH)


def to_account(account: str = "alice", alert: Alert | None = None) -> Push:
    return Push(Job("main", Platform.MIPUSH, account, "", alert or an_alert()), None)


def header(headers: tuple[str, ...], name: str) -> str | None:
    """The value that libcurl sends under this name, None where it sends none."""
    values = [line.partition(": ")[2] for line in headers if line.startswith(f"{name}: ")]
    return values[0] if values else None


# what messages hold: any text but lone surrogates, which are refused at intake
words = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('é👍🏽👨‍👩‍👧🇨🇳e\u0301\u20e3\ufe0f"\\\n,'), max_size=300
)
long_words = st.tuples(words, st.sampled_from([1, 40, 400])).map(lambda pair: pair[0] * pair[1])
alerts = st.builds(
    an_alert,
    title=long_words,
    body=long_words,
    conversation=st.tuples(st.sampled_from(["p2p:", "topic:"]), long_words).map("".join),
    sequence=st.integers(0, 1 << 70),
)
answers = st.builds(
    Response,
    status=st.sampled_from([200, 204, 301, 400, 401, 403, 404, 410, 413, 429, 500, 503]) | st.integers(),
    headers=st.dictionaries(st.sampled_from(["retry-after", "apns-id"]), st.text(max_size=30) | st.just("9" * 6000)),
    body=st.binary(max_size=60)
    | st.sampled_from([b"[" * 16_000, b'{"code":' + b"9" * 4000 + b"}", b'{"code":' + b"9" * 5000 + b"}"]),
)

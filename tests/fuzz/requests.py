"""Requests to our own routes and to the emulators' control routes: none may end in an error of ours."""

import asyncio
import base64
import hashlib
import hmac
import io
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from structlog.testing import capture_logs
from werkzeug.test import create_environ, run_wsgi_app

from proxy.emulators.apns import ApnsConfig
from proxy.emulators.apns.control import control_app
from proxy.emulators.apns.shared import Shared
from proxy.emulators.http import Sender, SenderConfig, sender_app
from proxy.emulators.mimc.config import MimcApp, MimcConfig
from proxy.emulators.mimc.groups import Group
from proxy.emulators.mimc.routes import mimc_app
from proxy.emulators.mimc.service import Mimc
from proxy.emulators.mimc.unlimited import UnlimitedGroup
from proxy.emulators.mipush.config import MipushApp, MipushConfig
from proxy.emulators.mipush.routes import mipush_app
from proxy.emulators.mipush.service import Mipush
from tests.emulators.apns_peer import section
from tests.fuzz.loop import Target
from tests.web.world import APP_ID, URL_SECRET, World, app_section, bearer, mipush_section, settings

_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
_ANEW = 100  # requests to one application: what was ordered must not pile up


def mimc_control() -> Target:
    """Nothing is ever posted: there is no room for a callback."""

    def make() -> Flask:
        mimc = Mimc(
            MimcConfig(
                apps=(MimcApp(app_id=APP_ID, app_key="key", app_secret="secret", callback_url="http://127.0.0.1:9/"),),
                callback_backlog=0,
            )
        )
        mimc.webhooks.close()
        return mimc_app(mimc)

    seeds = [
        _post("messages", {"from_account": "ann", "to_account": "ben", "text": "hi"}),
        _post(
            "messages", [{"from_account": "ann", "members": ["ann", "ben"], "text": "hi", "offline": {"ben": ["r"]}}]
        ),
        _post(
            "messages",
            {"from_account": "a", "to_account": "b", "payload_base64": "aGk=", "form": "old", "ids": "number"},
        ),
        _post("faults", [{"effect": "refuse", "times": 1, "target": "ann", "code": 500, "status": 200, "reason": "x"}]),
        _post("callbacks/urls", {"app_id": APP_ID, "callback_url": "http://127.0.0.1:9/x"}, "PUT"),
        _post("online", {"app_id": APP_ID, "accounts": {"ann": ["web"]}}, "PUT"),
        _post("uctopics/1", {"app_id": APP_ID, "accounts": ["ann"]}, "PUT"),
        b"DELETE tokens?account=ann\n",
    ]
    return _target(
        "mimc_control", make, seeds, [b"inner", b"percent", b"biz_type", b"copies", b"timestamp", b"sequence"]
    )


def mimc_api() -> Target:
    """MIMC's API, called by a server in the name of ann, in an app without callbacks."""
    app = MimcApp(app_id=APP_ID, app_key="key", app_secret="secret")
    headers = {"APPID": APP_ID, "APPKEY": "key", "APPSECRET": "secret", "APPACCOUNT": "ann", "TOPICID": "1"}

    def make() -> Flask:
        mimc = Mimc(MimcConfig(apps=(app,), undocumented=True))
        mimc.webhooks.close()
        mimc.groups.create(Group(APP_ID, "1", "ann", "a group"), ["ben"])
        mimc.unlimited.create(UnlimitedGroup(APP_ID, "1", "ann", "all"))
        mimc.push([{"app_id": APP_ID, "from_account": "ann", "to_account": "ben", "text": "hi"}], stored=True)
        return mimc_app(mimc)

    push = {"appId": APP_ID, "appKey": "key", "appSecret": "secret", "fromAccount": "ann", "msg": "hi", "bizType": ""}
    pair, here = {"fromAccount": "ann", "toAccount": "ben"}, {"account": "ann", "topicId": 1}
    seeds = [
        _post("push/p2p/", push | {"toAccount": "ben", "isStore": True}),
        _post("push/p2p/more", push | {"toAccounts": ["ben"], "msg": "aGk=", "msgType": "base64"}),
        _post("push/p2t/more", push | {"topicIds": [1]}),
        _post("push/ucs/multiMsgPush/", push | {"topicId": 1, "messages": ["hi"]}),
        _post(f"topic/{APP_ID}", {"topicName": "a", "accounts": "ben,cat", "extra": "x"}),
        _post(f"topic/{APP_ID}/1", {"ownerAccount": "ben", "bulletin": "b", "ownerUuid": 1}, "PUT"),
        _post(f"topic/{APP_ID}/1/accounts", {"accounts": "cat"}),
        f"DELETE topic/{APP_ID}/1/accounts?accounts=ben\n".encode(),
        f"GET topic/{APP_ID}/account\n".encode(),
        _post("msg/p2p/queryOnTime/", pair | {"utcFromTime": "1", "utcToTime": 86_400_000, "bizType": ""}),
        _post("msg/p2p/queryOnCount/", pair | {"utcToTime": 10**13, "count": "20", "extra": "x"}),
        _post("msg/p2t/queryOnSequence/", here | {"startSeq": 1, "stopSeq": "999999999999999999"}),
        _post("msg/p2t/extra/update", here | {"sequence": 1, "extra": "x"}),
        b"GET uctopic/userlist\n",
        b"GET contact/v2/?msgExtraFlag=true\n",
        b"DELETE contact/p2p/session?member=ben\n",
        _post("contact/p2p/extra/update", {"account": "ben", "extra": "x"}),
        _post("blacklist/", {"blackAccount": "ben"}),
        _post("account/status", {"appId": int(APP_ID), "accounts": "ann,ben"}),
    ]
    words = [b"uctopic", b"onlineinfo", b"query/", b"p2u", b"topicblacklist", b"account", b"null", b"\\ud800"]
    return _target("mimc_api", make, seeds, words, "/api/", {f"HTTP_{name}": text for name, text in headers.items()})


def mipush_control() -> Target:
    def make() -> Flask:
        mipush = Mipush(
            MipushConfig(apps=(MipushApp(package="com.example.chat", app_secret="secret"),), require_template=False)
        )
        mipush.webhooks.close()
        return mipush_app(mipush)

    seeds = [
        _post("devices", {"phone": "p1", "accounts": ["ann"], "regid": "r1", "package": "com.example.chat"}),
        _post("devices", [{"phone": "p2"}, {"phone": "p3", "accounts": []}]),
        _post("faults", {"effect": "code", "code": 10001, "share": 0.5}),
        _post("settings", {"unknown_targets": "accept"}, "PUT"),
        b"DELETE devices/p1\n", b"GET phones\n",
    ]  # fmt: skip
    return _target("mipush_control", make, seeds, [b"ignore", b"refuse", b"not_json", b"status"])


def sender() -> Target:
    """What a worker posts, and the control routes: each request is signed, so that more than the signature is read."""
    key = base64.b64encode(bytes(range(32))).decode()

    def sign(body: bytes) -> dict[str, str]:
        webhook_id, sent = "msg_1", str(int(time.time()))
        content = b".".join((webhook_id.encode(), sent.encode(), body))
        signature = base64.b64encode(hmac.new(base64.b64decode(key), content, hashlib.sha256).digest()).decode()
        return {
            "HTTP_WEBHOOK_ID": webhook_id, "HTTP_WEBHOOK_TIMESTAMP": sent, "HTTP_WEBHOOK_SIGNATURE": f"v1,{signature}",
        }  # fmt: skip

    at = "2026-11-23T12:00:00.000Z"
    whose = {
        "message_id": "m1", "app": "main", "account": "ben", "conversation": "p2p:ann", "sequence": "7",
        "device": {"id": "phone", "push_token": "fcm:1", "locale": "en"}, "expires_at": at,
    }  # fmt: skip
    said = {"kind": "text", "title": "ann", "body": "hi", "badge": 2, "silent": False, "urgent": False}
    seeds = [
        _post("alerts", {"type": "alert", "timestamp": at, "data": whose | said}),
        _post("alerts", {"type": "withdrawal", "timestamp": at, "data": whose | {"reason": "recall"}}),
        _post("alerts", {"type": "check", "timestamp": at, "data": {}}),
        _post("_emulator/faults", {"effect": "gone", "target": "fcm:1", "times": 1}),
        _post("_emulator/faults", {"effect": "status", "status": 503, "retry_after": "1"}),
    ]
    config = SenderConfig.model_validate({"secrets": [f"whsec_{key}"]})
    words = [b'"group"', b'"reason"', b'"read"', b"_emulator/", b"not_json", b"null"]
    return _target("sender", lambda: sender_app(Sender(config)), seeds, words, "/", sign=sign)


def apns_control() -> Target:
    config = ApnsConfig.model_validate(section(Path(tempfile.gettempdir())))  # no certificate is made
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="loop of the emulated APNs").start()

    def make() -> Flask:
        return control_app(Shared(config, lambda: None), set(), loop)

    seeds = [
        _post("devices", [{"device_token": "a1b2", "state": "unregistered", "timestamp_ms": 1793534400000}]),
        _post("connections", {"effect": "goaway", "code": 1, "reason": "x"}),
        _post("faults", {"effect": "limit", "code": 1}),
        _post("faults", {"effect": "answer", "reason": "BadDeviceToken", "delay_ms": 5, "target": "A1B2", "times": 2}),
        b"GET connections\n",
    ]
    return _target("apns_control", make, seeds, [b"silent_connection", b"rst_stream", b"expired", b"silence"])


def web() -> Target:
    """Our own application, whose store is in memory: whatever comes, the answer is an envelope."""
    headers = {f"HTTP_{name.upper()}": value for name, value in bearer(exp=int(time.time()) + 9 * 365 * 86_400).items()}
    callback = {
        "msgType": "OFFLINE_MSG",
        "fromAppId": APP_ID,
        "toAppId": APP_ID,
        "fromAccount": "ann",
        "toAccount": "b",
    }
    seeds = [
        _post(f"callbacks/mimc/{URL_SECRET}", callback | {"payload": "aGk=", "timestamp": "1795435200000"}),
        _post("api/account/token", {"appAccount": "1000", "appId": APP_ID}),
        _post("api/devices/phone", {"platform": "apns", "push_token": "a1b2", "environment": "sandbox"}, "PUT"),
        _post("api/devices/phone", {"platform": "mipush", "push_token": "r", "locale": "en", "preview": "none",
                                    "fallbacks": [{"platform": "http", "push_token": "fcm:1"}]}, "PUT"),
        _post("api/preferences", {"mutes": [{"topic_id": "7"}], "quiet_hours": None, "preview": "none"}, "PUT"),
        b"GET api/devices\n", b"DELETE api/devices/phone?app=main\n", b"GET readyz\n", b"OPTIONS api/account/token\n",
    ]  # fmt: skip
    words = [b"locale", b"resource", b"mipush", b"push_token", b"?app=", b"%00", b"//", b"metrics", b"healthz"]
    own = {"url": "https://push.example.com/", "secret": f"whsec_{'A' * 32}"}
    configured = settings({"main": app_section(mipush=mipush_section(), http=own)})
    return _target("web", lambda: World(configured).app, seeds, [*words, b'"fallbacks"', b"http"], "/", headers)


def _target(
    name: str,
    make: Callable[[], Flask],
    seeds: list[bytes],
    words: list[bytes],
    start: str = "/_emulator/",
    headers: dict[str, str] | None = None,
    sign: Callable[[bytes], dict[str, str]] | None = None,
) -> Target:
    """A request is a line `METHOD path?query` and a body. `sign`: headers that depend on the body."""
    applications: list[Flask] = []
    asked = 0

    def run(content: bytes) -> None:
        nonlocal asked
        if asked % _ANEW == 0:
            applications[:] = [make()]
            applications[0].config["PROPAGATE_EXCEPTIONS"] = True
        asked += 1
        signed = sign(content.partition(b"\n")[2]) if sign else {}
        status = _status(applications[0], start, content, {**(headers or {}), **signed})
        assert status < 500 or status == 503, status  # the latter: no room

    common = [b"GET ", b"POST ", b"PUT ", b"DELETE ", b"faults", b"journal?after=", b'"effect"', b'"share"', b"devices"]
    seeds = [*seeds, b"GET faults\n", b"DELETE faults\n", b"GET journal?after=1\n"]
    return Target(name, run, seeds, [*words, *common])


def _status(app: Flask, start: str, content: bytes, headers: dict[str, str]) -> int:
    line, _, body = content.partition(b"\n")
    method, _, address = line.decode("latin-1").partition(" ")
    path, _, query = address.partition("?")
    environ: dict[str, Any] = create_environ()
    environ |= headers
    environ |= {
        "REQUEST_METHOD": method if method in _METHODS else "POST",
        "PATH_INFO": start + path,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json",
        "wsgi.input": io.BytesIO(body),
        "emulator.connection": 1,
        "emulator.requests_before": 0,
    }
    with capture_logs():  # or every request would say something
        _, status, _ = run_wsgi_app(app, environ, buffered=True)
    return int(status.split()[0])


def _post(path: str, body: object, method: str = "POST") -> bytes:
    return f"{method} {path}\n{json.dumps(body)}".encode()

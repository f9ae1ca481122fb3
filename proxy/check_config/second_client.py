"""The same push, by an APNs client that we did not write: mopyapns, the maintained descendant of PyAPNs2.

It tells a fault of ours from one of the key, the topic or the phone. The relay never sends by it: it has no apns-id, so
that a push whose answer was lost could not be told from another.
"""

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proxy.check_config.addresses import TIMEOUT_S
from proxy.domain.transfers import Request
from proxy.errors import ProxyError
from proxy.settings import ApnsKey, ApnsSettings


def push_by_mopyapns(apns: ApnsSettings, key: ApnsKey, request: Request) -> str:
    """What APNs answers to the alert of this request: "accepted", its reason, or why there is no answer.

    It signs a provider token of its own with the key. Raises ProxyError where mopyapns is not installed.
    """
    try:
        import httpx  # noqa: PLC0415  both come with the extra `apns2` alone
        from apns2 import client, credentials, payload  # noqa: PLC0415  as above
    except ImportError:
        raise ProxyError("mopyapns is not installed: pip install 'mimc-app-proxy[apns2]'") from None

    class Trusting(credentials.TokenCredentials):  # type: ignore[misc]  # apns2 has no types
        """Its usual connection trusts the well-known authorities alone."""

        def create_connection(self, *_: Any, **__: Any) -> httpx.Client:
            return httpx.Client(http2=True, verify=_trusted(apns.ca_file), proxy=apns.proxy, trust_env=False,
                                timeout=TIMEOUT_S)  # fmt: skip

    class Same(payload.Payload):  # type: ignore[misc]  # as above
        def dict(self) -> dict[str, Any]:
            members: dict[str, Any] = json.loads(request.body)
            return members

    headers, address = _by_name(request), urlsplit(request.url)
    sender = client.APNsClient(Trusting(str(key.file), key.id, apns.team_id))
    sender._server, sender._port = address.hostname, address.port or 443  # it knows no setting for another host
    try:
        answer = sender.send_notification_async(
            address.path.rpartition("/")[2], Same(alert=""), headers["apns-topic"],
            client.NotificationPriority(headers["apns-priority"]), int(headers["apns-expiration"]),
            headers["apns-collapse-id"], client.NotificationType(headers["apns-push-type"]),
        )  # fmt: skip
        result = sender.get_notification_result(answer)
    except httpx.HTTPError as error:
        return f"not reached: {type(error).__name__}"
    except (ValueError, KeyError):
        return f"an answer that is none of APNs', HTTP {answer.status_code}"
    finally:
        sender._connection.close()
    return "accepted" if result == "Success" else str(result[0] if isinstance(result, tuple) else result)


def _trusted(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _by_name(request: Request) -> Mapping[str, str]:
    return {name: value.strip() for name, _, value in (header.partition(":") for header in request.headers)}

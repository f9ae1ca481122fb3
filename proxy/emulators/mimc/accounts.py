"""What MIMC makes of an app_account: the token reply, and the `authentication` of callbacks."""

import base64
import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from proxy.emulators.mimc.config import MimcApp

_AES_BLOCK = 16


def token_reply(app: MimcApp, app_account: str, token: str) -> bytes:
    """The body of a granted token request: compact JSON, members in the order MIMC was seen to send them.

    Ids are the same for an account at every call and are texts.
    """
    digest = hmac.digest(app.app_secret.encode(), app_account.encode(), hashlib.sha256)
    data = {
        "appId": app.app_id,
        "appPackage": app.package,
        "appAccount": app_account,
        "miChid": 9,
        "miUserId": mimc_user_id(app.app_id, app_account),
        "miUserSecurityKey": base64.b64encode(digest[:16]).decode(),
        "token": token,
        "regionBucket": digest[16],
        "feDomainName": "app.chat.xiaomi.net",
        "relayDomainName": "relay.mimc.chat.xiaomi.net",
    }
    return compact_json({"code": 200, "message": "success", "data": data})


def mimc_user_id(app_id: str, app_account: str) -> str:
    """17 digits, above 2^53 and odd, so that a client that rounds it through a double is caught."""
    digest = hashlib.sha256(f"{app_id}\0{app_account}".encode()).digest()
    return str(10**16 + int.from_bytes(digest[:8], "big") % (9 * 10**16) | 1)


def authentication(app_secret: str, timestamp: str, app_id: str) -> str:
    """AES-128-ECB under the MD5 of the secret's text: length (32 bit, little-endian), "timestamp_appId", zeros."""
    text = f"{timestamp}_{app_id}".encode()
    clear = struct.pack("<i", len(text)) + text
    clear += bytes(-len(clear) % _AES_BLOCK)
    key = hashlib.md5(app_secret.encode(), usedforsecurity=False).digest()
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  MIMC's choice  # nosec B305
    return base64.b64encode(encryptor.update(clear) + encryptor.finalize()).decode()


def compact_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

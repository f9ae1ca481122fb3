"""Does a callback's `authentication` show that its sender knows the app's secret?

A weak proof, so never the only one: it covers neither payload nor accounts, and one captured value stays good for any
body that repeats its timestamp. The URL's secret decides who may post.
"""

import hashlib
import threading
from enum import Enum
from functools import lru_cache
from typing import Final, Literal

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from proxy.domain.callbacks import CallbackOrigin
from proxy.mimc.wire import read_base64, timestamp_ms

TOLERANCE_MS: Final = 60_000  # between the value's timestamp and the callback's own, as the known consumer allows
MAX_VALUE: Final = 4096  # characters; the real ones have 64
_BLOCK: Final = 16


class Authenticity(Enum):
    """VALID: made with our secret. INVALID: it should have been. ABSENT: there is nothing that we could check."""

    VALID = "valid"
    INVALID = "invalid"
    ABSENT = "absent"


def authentic(origin: CallbackOrigin, app_id: str, app_secret: str) -> Authenticity:
    """Judge an origin with the secret of the app that the callback was posted for: another's proves nothing here.

    A callback that names another app too (chat across apps) may have been made with that app's secret, and is judged as
    if the field were absent.
    """
    if not origin.authentication:
        return Authenticity.ABSENT
    if is_authentic(origin.authentication, app_secret, app_id, origin.timestamp):
        return Authenticity.VALID
    return Authenticity.ABSENT if set(origin.app_ids) - {app_id} else Authenticity.INVALID


def is_authentic(value: str, app_secret: str, app_id: str, timestamp: str | None) -> bool:
    """True if `value` hides this app's id and a timestamp at most a minute from the callback's. Never raises.

    The value is base64 of AES-128-ECB under MD5(appSecret text), zero bytes to the end of the last block, of a 32-bit
    length and that many bytes of `<timestamp>_<appId>`. Source: MIMC's manual names the ingredients; the order of
    bytes is that of a public consumer, confirmed on no live callback, therefore both are read.
    """
    expected_ms = timestamp_ms(timestamp)
    clear = _decrypt(value, app_secret)
    if expected_ms is None or clear is None:
        return False
    return any(_says(clear, byteorder, app_id, expected_ms) for byteorder in ("little", "big"))


def _says(clear: bytes, byteorder: Literal["little", "big"], app_id: str, expected_ms: int) -> bool:
    length = int.from_bytes(clear[:4], byteorder)
    if length > len(clear) - 4:
        return False
    try:
        text = clear[4 : 4 + length].decode("utf-8")
    except UnicodeDecodeError:
        return False
    made, _, named = text.partition("_")
    made_ms = timestamp_ms(made)
    return made_ms is not None and named.split("_")[0] == app_id and abs(made_ms - expected_ms) <= TOLERANCE_MS


def _decrypt(value: str, app_secret: str) -> bytes | None:
    """The clear bytes with their padding, None for what is no whole number of blocks in base64 of either alphabet."""
    if len(value) > MAX_VALUE:
        return None
    try:
        sealed = read_base64(value)
    except ValueError:
        return None
    if not sealed or len(sealed) % _BLOCK:
        return None
    return _decryptor(app_secret, threading.get_ident()).update(sealed)


@lru_cache(maxsize=1024)
def _decryptor(app_secret: str, _thread: int) -> CipherContext:
    """One for each thread: ECB blocks are independent, so it is never finished; making one costs more than its use."""
    key = hashlib.md5(app_secret.encode(), usedforsecurity=False).digest()  # theirs to choose
    return Cipher(algorithms.AES(key), modes.ECB()).decryptor()  # noqa: S305, theirs to choose as well  # nosec B305

"""Does an answer of the TokenService repeat our credentials? Then a client would read them. Pure.

The peer is Xiaomi's service over verified TLS. What repeats a request is an error page, a gateway or a debugging aid,
each with its own way of writing. So the guard searches the text as it is and out of JSON's escapes, and each of these
once more out of percent-encoding, HTML and base64. No more than that: a peer that wants to hide a secret can.
"""

import html
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

from proxy.mimc.token_answer import without_security_key

SHORTEST: Final = 8  # characters; what is shorter is found in answers by chance
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ENDLESS: Final = re.compile(r"&#[0-9]{1000,}")  # names no character, and Python's `int` raises at some length
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Echo(StrEnum):
    """Where an app's key or secret was found; the values are labels of a metric."""

    ANSWER = "answer"
    SECURITY_KEY = "miUserSecurityKey"  # the manual prints `"miUserSecurityKey": $appSecret` in the answer of success


class EchoGuard:
    """Knows the secrets of one app; those under `SHORTEST` are not searched for."""

    def __init__(self, secrets: Iterable[str]) -> None:
        searched = [secret for secret in secrets if len(secret) >= SHORTEST]
        self._secrets = tuple(searched)
        self._in_base64 = tuple(part for secret in searched for part in _in_base64(secret.encode("utf-8", "replace")))

    def find(self, head: Iterable[bytes], body: bytes) -> Echo | None:
        """Where the answer repeats a secret. `head`: all lines of its headers and trailers."""
        lines = b"".join(head)
        if not self._is_in(lines + body):
            return None
        rest = without_security_key(body)
        return Echo.ANSWER if rest is None or self._is_in(lines + rest) else Echo.SECURITY_KEY

    def _is_in(self, answer: bytes) -> bool:
        return any(map(self._is_written_in, _written(answer)))

    def _is_written_in(self, text: str) -> bool:
        if any(secret in decoded for decoded in _decoded(text) for secret in self._secrets):
            return True
        in_base64 = _one_alphabet(text)
        return any(part in in_base64 for part in self._in_base64)


def _written(answer: bytes) -> Iterator[str]:
    """The answer as text, and the same out of JSON's escapes: strings of JSON are parts of that."""
    text = answer.decode("utf-8", "replace").replace("\0", "")  # without them UTF-16 and UTF-32 read as ASCII
    yield text
    if "\\" in text:
        yield _ESCAPE.sub(_meant, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _meant(escape: re.Match[str]) -> str:
    digits, character = escape.groups()
    return chr(int(digits, 16)) if digits else _CONTROLS.get(character, character)


def _decoded(text: str) -> Iterator[str]:
    yield text
    if "%" in text:
        yield unquote(text)
    if "&" in text:
        yield html.unescape(_ENDLESS.sub("", text))


def _one_alphabet(text: str) -> str:
    """In base64's first alphabet and without line ends."""
    return "".join(text.split()).replace("-", "+").replace("_", "/")


def _in_base64(secret: bytes) -> Iterator[str]:
    """How base64 writes the secret after 0, 1 and 2 other bytes: the characters that hold no bit of its neighbours.

    To find these is to decode at the three alignments and find the secret, but for the bits at its two ends.
    """
    for before in range(3):
        start, end = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        yield b64encode(bytes(before) + secret)[start:end].decode()

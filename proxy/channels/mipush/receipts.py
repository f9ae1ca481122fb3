"""Xiaomi push's receipts: how a push asks for them, and what they say. Pure.

Source: Xiaomi push server API, chapter on receipts (`extra.callback`), 2015 to 2024. Nothing says that they are signed.
So the address has a secret of its own in its path, and `callback.param` carries an HMAC of ours over what it says: who
knows the address alone can make no receipt, and who sees one receipt can make none about another message.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice
from typing import Final
from urllib.parse import parse_qs

from proxy.domain.receipts import Delivery, DeliveryReceipt, QuotaUse, ReceiptReference
from proxy.errors import NotFound
from proxy.settings import AppSettings, MipushSettings
from proxy.strict_json import object_or_none

PATH: Final = "/callbacks/mipush/"
_MEANINGS: Final[Mapping[int, Delivery]] = {
    1: Delivery.DELIVERED,
    2: Delivery.CLICKED,
    16: Delivery.INVALID_TARGET,
    32: Delivery.BLOCKED_BY_USER,
    64: Delivery.FILTERED,
    128: Delivery.OVER_QUOTA,
    1024: Delivery.EXPIRED,
}
# each once, for a sum that has one twice asks for something else. Filters (64) are none of ours
ASKED_FOR: Final = 1 + 2 + 16 + 32 + 128 + 1024
_VERSION: Final = b"\x01"
_TIME, _MESSAGE, _MAC = 6, 16, 16  # bytes
_MOST_TARGETS: Final = 1000  # as many as a request has
_MOST_RECEIPTS: Final = 10_000  # of one post, about a second's
_OLDEST: Final = timedelta(days=11)  # a message is kept for ten days at most
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_ONE_MS: Final = timedelta(milliseconds=1)


class ReceiptKey:
    """Signs what a section's pushes carry, and knows it again. Its key is made of the push AppSecret."""

    def __init__(self, settings: MipushSettings, section: str) -> None:
        secret = settings.app_secret.get_secret_value().encode("utf-8", "surrogatepass")
        self._key = hmac.digest(secret, b"mipush receipts\0" + section.encode(), "sha256")

    def param(self, message_id: str, sent_at: datetime) -> str:
        """52 characters, of at most 64: when it was sent, which message, and the HMAC of both.

        `message_id` has 32 hex digits.
        """
        said = _VERSION + ((sent_at - _EPOCH) // _ONE_MS).to_bytes(_TIME, "big") + bytes.fromhex(message_id)
        return urlsafe_b64encode(said + self._mac(said)).decode()

    def read(self, param: object) -> ReceiptReference | None:
        """None for what is none of ours."""
        if not isinstance(param, str) or len(param) != 52:
            return None
        try:
            raw = urlsafe_b64decode(param)
        except ValueError:
            return None
        said, mac = raw[:-_MAC], raw[-_MAC:]
        if len(said) != 1 + _TIME + _MESSAGE or not hmac.compare_digest(self._mac(said), mac):
            return None
        sent_ms = int.from_bytes(said[1 : 1 + _TIME], "big")
        return ReceiptReference(said[1 + _TIME :].hex(), _EPOCH + sent_ms * _ONE_MS)

    def _mac(self, said: bytes) -> bytes:
        return hmac.digest(self._key, said, "sha256")[:_MAC]


class ReceiptRequest:
    """What a section's pushes carry to ask for receipts; nothing where the settings ask for none."""

    def __init__(self, settings: MipushSettings, section: str) -> None:
        self._key = ReceiptKey(settings, section)
        secret = settings.receipt_secret
        self._url = f"{settings.receipts}{PATH}{secret.get_secret_value()}" if settings.receipts and secret else ""

    def extras(self, message_id: str, now: datetime) -> dict[str, str]:
        if not self._url:
            return {}
        return {
            "extra.callback": self._url,
            "extra.callback.param": self._key.param(message_id, now),
            "extra.callback.type": str(ASKED_FOR),
        }


class ReceiptReader:
    """Reads what is posted about one section's pushes."""

    def __init__(self, settings: MipushSettings, section: str) -> None:
        self.section = section
        self._by_account, self._key = settings.by_account, ReceiptKey(settings, section)

    def read(self, body: bytes, now: datetime) -> Iterator[DeliveryReceipt | QuotaUse | None]:
        """Each receipt of a post, None for one that is not about a push of ours. Unknown types and members do no harm.

        The body is a form with the field `data`, or that field's JSON by itself. Raises ValueError for any other. A
        receipt over the day's quota is followed by the QuotaUse that it names.
        """
        for receipt in _objects(body):
            if not isinstance(receipt, dict):
                yield None
                continue
            reference = self._key.read(receipt.get("param"))
            if reference is None or now - reference.sent_at > _OLDEST:
                yield None
                continue
            yield (said := self._receipt(receipt, reference))
            if said.what is Delivery.OVER_QUOTA and isinstance(more := receipt.get("extra"), dict):
                use = quota_use(more.get("ack"), more.get("quota"))
                if use is not None:
                    yield use

    def _receipt(self, receipt: Mapping[str, object], reference: ReceiptReference) -> DeliveryReceipt:
        kind, targets = receipt.get("type"), receipt.get("targets")
        named = targets.split(",")[:_MOST_TARGETS] if isinstance(targets, str) else []
        return DeliveryReceipt(
            self.section,
            "mipush",
            _MEANINGS.get(kind, Delivery.OTHER) if type(kind) is int else Delivery.OTHER,
            reference,
            tuple(target for part in named if (target := part.strip())),
            self._by_account,
            _moment(receipt.get("timestamp")),
        )


class ReceiptReaders:
    """The receipt secrets of all sections."""

    def __init__(self, apps: Mapping[str, AppSettings]) -> None:
        sections = {name: app.mipush for name, app in apps.items() if app.mipush is not None}
        self._readers = [
            (_digest(section.receipt_secret.get_secret_value()), ReceiptReader(section, name))
            for name, section in sections.items()
            if section.receipts and section.receipt_secret is not None
        ]

    def admit(self, url_secret: str) -> ReceiptReader:
        """The reader of the section whose secret this is; else NotFound, as for a path that does not exist.

        Digests of equal length are compared, all of them: the time reveals neither length nor place.
        """
        shown, found = _digest(url_secret), None
        for digest, reader in self._readers:
            if hmac.compare_digest(digest, shown):
                found = reader
        if found is None:
            raise NotFound("not found")
        return found


def quota_in(answer: bytes) -> QuotaUse | None:
    """What an answer to a push says of the day's allowance. None: nothing that can be read."""
    data = (object_or_none(answer) or {}).get("data")
    return quota_use(data.get("day_acked"), data.get("day_quota")) if isinstance(data, dict) else None


def quota_use(used: object, of: object) -> QuotaUse | None:
    """From their numbers, which may be texts."""
    spent, allowed = _count(used), _count(of)
    return QuotaUse(spent, allowed) if spent is not None and allowed else None


def _objects(body: bytes) -> list[object]:
    """The values of their JSON text, whose members are named by message ids of theirs."""
    text = body.strip()
    if not text.startswith(b"{"):
        try:
            fields = parse_qs(text.decode(), strict_parsing=True, max_num_fields=16)
        except ValueError:
            raise ValueError("expected a form, or a JSON object") from None
        text = fields.get("data", [""])[0].encode("utf-8", "replace")
    found = object_or_none(text)
    if found is None:
        raise ValueError("data: expected the text of a JSON object")
    return list(islice(found.values(), _MOST_RECEIPTS))


def _digest(secret: str) -> bytes:
    return blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def _count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 15:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15 else None


def _moment(timestamp_ms: object) -> datetime | None:
    ms = _count(timestamp_ms)
    try:
        return _EPOCH + ms * _ONE_MS if ms else None
    except OverflowError:
        return None

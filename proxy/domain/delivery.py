"""Whose alerts this service delivers: of a growing share of the accounts, until it is all of them."""

import hashlib
from dataclasses import dataclass

from proxy.domain.decisions import Result

_WHOLE = 1 << 64


def percentile(account: str) -> float:
    """The place of an account among all, from 0 to under 100: always the same, and evenly spread.

    It is the first eight bytes of the SHA-256 of the name in UTF-8, as a big-endian number, of 2^64, in per cent; so
    another relay can tell who is whose.
    """
    first = hashlib.sha256(account.encode(errors="surrogatepass")).digest()[:8]
    return int.from_bytes(first) * 100 / _WHOLE


@dataclass(frozen=True)
class Delivery:
    """`share` per cent of the accounts get their alerts; those of the others end as `others`. None: all get them."""

    others: Result | None = None
    share: float = 0.0

    def instead(self, account: str) -> Result | None:
        """How an alert of this account ends without being sent; None where it is sent."""
        if self.others is None or (self.share and percentile(account) < self.share):
            return None
        return self.others


TO_ALL = Delivery()

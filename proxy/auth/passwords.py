"""Passwords of the built-in accounts: argon2id, in constant time for unknown users."""

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from proxy.errors import Overloaded

# OWASP's password storage cheat sheet; what is stored with other parameters is hashed anew at the next sign-in
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)

# of a random password, with the parameters above
_DUMMY_HASH = "$argon2id$v=19$m=19456,t=2,p=1$O22KQEZUw19LrA3nimZk4Q$qqis1YXL4Tvnv5SfrFDa5Eq2dJcGj9ystI02y7Nul0E"

_AT_ONCE = 4  # each takes 19 MiB and a core
_SLOT_WITHIN_S = 0.25  # a sign-in holds a thread while it waits


class Argon2Passwords:
    """Safe to share between threads; the work of a few at a time. Raises Overloaded where no slot gets free soon."""

    def __init__(self, at_once: int = _AT_ONCE, slot_within_s: float = _SLOT_WITHIN_S) -> None:
        self._slots = threading.BoundedSemaphore(at_once)
        self._slot_within_s = slot_within_s

    def hash(self, password: str) -> str:
        with self.slot():
            return _HASHER.hash(_one_form(password))

    @contextmanager
    def slot(self) -> Iterator[None]:
        """The right to work, one of a few."""
        if not self._slots.acquire(timeout=self._slot_within_s):
            raise Overloaded("all places for sign-ins are taken")
        try:
            yield
        finally:
            self._slots.release()

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Is it the password? False without a hash, in constant time."""
        with self.slot():
            try:
                matches = _HASHER.verify(password_hash or _DUMMY_HASH, _one_form(password))
            except (VerificationError, InvalidHashError):
                return False
        return matches and password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        return _HASHER.check_needs_rehash(password_hash)


def _one_form(password: str) -> str:
    """The same letters typed on two systems are one password (RFC 8265, 4.2)."""
    return unicodedata.normalize("NFC", password)

"""Passwords of the built-in accounts: argon2id, in constant time for unknown users."""

import os
import sys
import threading
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
_NICENESS = 10  # about a tenth of the CPU where others want it too


class Argon2Passwords:
    """Safe to share between threads; the work of a few at a time. Raises Overloaded where no slot gets free soon.

    It is done by threads of its own, which do nothing else and step back for all others: where sign-ins want the last
    core, a callback gets it. They hold Python's lock for microseconds alone, so none waits for one that stepped back.
    """

    def __init__(self, at_once: int = _AT_ONCE, slot_within_s: float = _SLOT_WITHIN_S) -> None:
        self._slots = threading.BoundedSemaphore(at_once)
        self._slot_within_s = slot_within_s
        self._threads = ThreadPoolExecutor(at_once, "passwords", initializer=_step_back)

    def hash(self, password: str) -> str:
        with self.slot():
            return self._threads.submit(_HASHER.hash, _one_form(password)).result()

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
            work = self._threads.submit(_HASHER.verify, password_hash or _DUMMY_HASH, _one_form(password))
            try:
                matches = work.result()
            except (VerificationError, InvalidHashError):
                return False
        return matches and password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        return _HASHER.check_needs_rehash(password_hash)


def _step_back() -> None:
    if sys.platform == "linux":  # elsewhere this would be the whole process
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS, 19))


def _one_form(password: str) -> str:
    """The same letters typed on two systems are one password (RFC 8265, 4.2)."""
    return unicodedata.normalize("NFC", password)

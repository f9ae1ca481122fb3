"""Passwords of the built-in accounts: argon2id, in constant time for unknown users."""

import os
import sys
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

# OWASP's password storage cheat sheet; what is stored with other parameters is hashed anew at the next sign-in
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)

# of a random password, with the parameters above
_DUMMY_HASH = "$argon2id$v=19$m=19456,t=2,p=1$O22KQEZUw19LrA3nimZk4Q$qqis1YXL4Tvnv5SfrFDa5Eq2dJcGj9ystI02y7Nul0E"

_NICENESS = 10  # about a tenth of the CPU where others want it too


class Argon2Passwords:
    """Safe to share between threads; `at_once` of them get their work done together, each with 19 MiB and a core.

    Threads of its own do the work, and nothing else. They step back for all others: where sign-ins want the last core,
    a callback gets it. They hold Python's lock for microseconds alone, so none waits for one that stepped back.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._threads = ThreadPoolExecutor(at_once, "passwords", initializer=_step_back)

    def hash(self, password: str) -> str:
        return self._threads.submit(_HASHER.hash, _one_form(password)).result()

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Is it the password? False without a hash, in constant time."""
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

"""How passwords are kept."""

import os
import sys
import threading

import pytest
from argon2 import PasswordHasher, extract_parameters

from proxy.auth import passwords
from proxy.auth.passwords import Argon2Passwords

WEAKER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


def test_a_password_is_known_by_its_hash_and_by_no_other() -> None:
    kept = Argon2Passwords().hash("correct horse")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert Argon2Passwords().verify(kept, "correct horse")
    assert not Argon2Passwords().verify(kept, "correct  horse")
    assert not Argon2Passwords().verify("no hash", "correct horse")
    assert Argon2Passwords().hash("correct horse") != kept


def test_a_password_typed_on_another_system_is_the_same() -> None:
    assert Argon2Passwords().verify(Argon2Passwords().hash("caf\u00e9 noir"), "cafe\u0301 noir")


def test_an_unknown_user_has_no_password_and_costs_what_a_user_costs() -> None:
    assert not Argon2Passwords().verify(None, "correct horse")
    dummy = passwords._DUMMY_HASH
    assert extract_parameters(dummy) == extract_parameters(Argon2Passwords().hash("correct horse"))


def test_what_was_kept_with_other_parameters_is_to_be_hashed_anew() -> None:
    kept = WEAKER.hash("correct horse")
    assert Argon2Passwords().verify(kept, "correct horse")
    assert Argon2Passwords().needs_rehash(kept)
    assert not Argon2Passwords().needs_rehash(Argon2Passwords().hash("correct horse"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_the_work_is_done_by_threads_that_step_back_for_all_others() -> None:
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    it = Argon2Passwords()
    it.hash("correct horse")
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("passwords")]
    assert workers
    assert all(os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) == min(mine + 10, 19) for thread in workers)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine

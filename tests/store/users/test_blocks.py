"""Who may do nothing any more, as the web asks and as the worker asks."""

from datetime import timedelta

from proxy.store.connection import Store
from proxy.store.users.blocks import RedisBlocks


def test_a_blocked_account_is_blocked_until_it_is_unblocked(store: Store, app_id: str) -> None:
    blocks = RedisBlocks(store)
    alice = f"alice-{app_id}"
    assert not blocks.is_blocked(alice, None)
    blocks.block(alice)
    blocks.block(alice)
    assert blocks.is_blocked(alice, None)
    blocks.unblock(alice)
    assert not blocks.is_blocked(alice, "a session")


def test_an_ended_session_ends_nobody_elses(store: Store, app_id: str) -> None:
    blocks = RedisBlocks(store)
    blocks.block_session(f"one-{app_id}", timedelta(minutes=1))
    assert blocks.is_blocked("alice", f"one-{app_id}")
    assert not blocks.is_blocked("alice", f"two-{app_id}")


def test_an_account_is_the_same_however_its_letters_are_composed(store: Store, app_id: str) -> None:
    blocks = RedisBlocks(store)
    blocks.block(f"\u00e9mile-{app_id}")
    assert blocks.is_blocked(f"e\u0301mile-{app_id}", None)

"""`app-proxy store`: upgrade and reshard, on a store that an earlier version made."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli import cli
from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.keys import Layout
from proxy.store.queue.inbox import RedisInbox
from proxy.store.reshard import begin
from proxy.store.server.embedded import ensure_store, stop_store
from proxy.store.server.identity import IdentityMonitor, StoreIdentity
from proxy.store.upgrade import BEGINS_AFTER
from proxy.wiring.common import utc_now
from tests.store.samples import DAY, callback, for_inbox


@pytest.fixture
def earlier_store(tmp_path: Path) -> Iterator[str]:
    """As an earlier program makes it."""
    url = ensure_store(tmp_path / "s")
    Store(url).call(lambda redis: redis.hset(keys.identity(), mapping={"id": "0123456789abcdef", "made_at": "1"}))
    yield url
    stop_store(tmp_path / "s")


def upgrade(folder: Path, url: str) -> str:
    result = run(folder, url, "upgrade")
    assert result.exit_code == 0, result.output
    return result.output


def run(folder: Path, url: str, *order: str, settings: str = "") -> Result:
    config = folder / "proxy.toml"
    config.write_text(
        '[auth.accounts]\nkey = "a-key-of-the-accounts-canary-0123456789"\n'
        f'[store]\nurl = "{url}"\n{settings}'
        '[apps.main]\napp_id = 77\napp_key = "k"\napp_secret = "s"\nurl_secret = "0123456789abcdef"\n'
    )
    return CliRunner().invoke(cli, ["store", *order, "--config", str(config)])


def test_a_running_process_learns_of_the_upgrade_and_knows_what_was_stored_before(
    tmp_path: Path, earlier_store: str
) -> None:
    store, now = Store(earlier_store), utc_now()
    monitor = IdentityMonitor(store, StoreIdentity(earlier_store), lambda _: None, lambda: now, iter(range(9)).__next__)
    one, other = callback("77"), callback("77", sequence="8")
    assert store.layout == Layout(0)
    inbox = RedisInbox(store, DAY, 100)
    assert not inbox.accept(*for_inbox(one, now)).duplicate

    assert "marks from 20" in upgrade(tmp_path, earlier_store)
    assert monitor.look()
    assert store.layout.marks
    assert to_ms(now) < store.layout.marks.from_ms <= to_ms(utc_now() + BEGINS_AFTER)
    for later in (now, now + 2 * BEGINS_AFTER, now + DAY - BEGINS_AFTER):
        assert inbox.accept(*for_inbox(one, later)).duplicate
    assert not inbox.accept(*for_inbox(other, now + 2 * BEGINS_AFTER)).duplicate
    assert inbox.accept(*for_inbox(other, now)).duplicate
    assert store.call(lambda redis: redis.exists(store.layout.seen("77", other.callback_id))) == 0

    assert upgrade(tmp_path, earlier_store) == "nothing to do: the store is compact\n"
    assert Store(earlier_store).layout == store.layout


def test_a_new_store_is_compact_from_the_beginning(tmp_path: Path) -> None:
    url = ensure_store(tmp_path / "s")
    try:
        layout = Store(url).layout
        assert layout.marks
        assert (layout.is_compact, layout.marks.from_ms) == (True, 0)
        assert upgrade(tmp_path, url) == "nothing to do: the store is compact\n"
        assert not Layout(0).is_compact
    finally:
        stop_store(tmp_path / "s")


def test_a_store_that_came_back_empty_keeps_marks_as_the_lost_one_did(tmp_path: Path) -> None:
    """What a process writes before it has learned of the loss is found by those that have."""
    url = ensure_store(tmp_path / "s")
    try:
        store, late, now = Store(url), Store(url), utc_now()
        monitor = IdentityMonitor(store, StoreIdentity(url), lambda _: None, lambda: now, iter(range(9)).__next__)
        assert monitor.look()
        assert late.layout == store.layout
        before = store.layout
        store.call(lambda redis: redis.flushall())
        one = callback("77")
        assert not RedisInbox(late, DAY, 100).accept(*for_inbox(one, now)).duplicate
        assert monitor.look()
        assert store.layout == before
        assert RedisInbox(store, DAY, 100).accept(*for_inbox(one, now)).duplicate
    finally:
        stop_store(tmp_path / "s")


def test_a_store_is_moved_to_other_shards_while_nobody_works(tmp_path: Path, earlier_store: str) -> None:
    store, now = Store(earlier_store), to_ms(utc_now())
    store.call(lambda redis: redis.zadd(keys.workers(), {"worker-1": now - 20_000, "worker-2": now - 40_000}))
    refused = run(tmp_path, earlier_store, "reshard")
    assert refused.exit_code == 1
    assert "workers have said something within 30 s: worker-1. Stop" in refused.output
    assert (
        "app-proxy store reshard --shards 16"
        in run(tmp_path, earlier_store, "upgrade", settings="shards = 16\n").output
    )
    assert "power of two" in run(tmp_path, earlier_store, "reshard", "--shards", "12").output

    assert not RedisInbox(store, DAY, 100).accept(*for_inbox(callback("77"), utc_now())).duplicate
    begin(store, 16)
    other = run(tmp_path, earlier_store, "reshard", "--shards", "4", "--even-so")
    assert "store reshard --shards 16 goes on with that" in other.output
    moved = run(tmp_path, earlier_store, "reshard", "--even-so", settings="shards = 16\n")
    assert "and 1 entries of streams" in moved.output
    assert "the store has 16 shards" in moved.output
    assert RedisInbox(Store(earlier_store), DAY, 100).accept(*for_inbox(callback("77"), utc_now())).duplicate
    assert run(tmp_path, earlier_store, "reshard", "--even-so").output == "nothing to do: the store has 16 shards\n"

"""`app-proxy accounts erase`: afterwards nothing names the account, in the store or in the accounts' database."""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.auth.accounts_db import open_accounts
from proxy.cli import cli
from proxy.domain.api_keys import ApiKey, Scope, hash_of, id_of, new_bearer
from proxy.domain.callbacks import Recipient, account_digest
from proxy.domain.history import Note
from proxy.domain.lanes import Lane
from proxy.domain.preferences import Mute, Preferences
from proxy.domain.times import MS
from proxy.spool.folder import Spool
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import DeviceRemoval, RemovalGuard
from proxy.store.history_records import filed, record_of, unfiled
from proxy.store.records import dump_dead_letter, dump_job, dump_offline_message
from proxy.store.users.api_keys import RedisApiKeys
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
from proxy.store.users.presence import RedisPresence
from tests.store.samples import (
    NOON,
    SECOND,
    alert,
    callback,
    device,
    for_inbox,
    job,
    put_jobs,
    raw,
    with_redis,
)

NAME = "zoe-the-canary"
READS: dict[bytes, Callable[[bytes], tuple[Any, ...]]] = {
    b"string": lambda name: ("GET", name),
    b"hash": lambda name: ("HGETALL", name),
    b"zset": lambda name: ("ZRANGE", name, 0, -1),
    b"stream": lambda name: ("XRANGE", name, "-", "+"),
}
LATER = datetime.now(UTC)


class Operator:
    def __init__(self, folder: Path, store_url: str) -> None:
        self.app_id = str(uuid.uuid4().int)[:18]
        self.config, self.url, self.store = folder / "proxy.toml", store_url, Store(store_url)
        self.database = folder / "accounts.sqlite3"
        self.config.write_text(
            f'[store]\nurl = "{store_url}"\n[auth.accounts]\nkey = "{"k" * 40}"\ndatabase = "{self.database}"\n'
            f'[apps.main]\napp_id = "{self.app_id}"\napp_key = "key"\napp_secret = "secret"\n'
            f'url_secret = "{"u" * 20}"\n'
            f'[apps.main.http]\nurl = "http://127.0.0.1:9/alerts"\nsecret = "whsec_{"QUFB" * 12}"\n'
        )
        self.app_ids, self.lane = {"main": self.app_id}, Lane(self.app_id, "main", "http")

    def erase(self, *options: str) -> tuple[Result, dict[str, Any]]:
        arguments = ["accounts", "erase", NAME, *options, "--config", str(self.config)]
        result = CliRunner().invoke(cli, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result, json.loads(result.stdout)

    def stored(self) -> bytes:
        """All names and values of the app."""
        parts = []
        for name in sorted(raw(self.store, "KEYS", f"*{self.app_id}*")):
            value = raw(self.store, *READS[raw(self.store, "TYPE", name)](name))
            parts += [name, repr(value).encode()]
            if b":history:" in name:
                parts += [unfiled(*next(iter(fields.items()))) for _, fields in value]
        return b"".join(parts)

    def live(self, account: str) -> None:
        """Registers, sets preferences, fetches a token, is sent messages that wait in every way, and has a past."""
        layout = self.store.layout
        RedisDeviceRegistry(self.store, self.app_ids).register(replace(device(account), push_token=f"of {account}"))
        RedisPreferences(self.store, self.app_ids).write("main", account, Preferences({"p2p:ann": Mute()}), None)
        RedisPresence(self.store, self.app_ids, 10_000 * MS).note("main", account)
        shard = layout.shard_of_account(account)
        its_job = job(self.lane, account)
        with_redis(self.url, lambda redis: put_jobs(redis, self.lane, [its_job, job(self.lane, "ben", of=alert("m2"))]))
        message, _ = for_inbox(callback(self.app_id, [Recipient(account)], topic_id=None), NOON)
        record = dump_offline_message(message)
        raw(self.store, "XADD", layout.callbacks(self.app_id, shard), "*", "r", record)
        raw(self.store, "ZADD", layout.waiting(self.app_id, shard), 1, b"id\n" + record)
        raw(self.store, "ZADD", layout.retries(self.lane, shard), 1, dump_job(its_job, compact=layout.is_compact))
        raw(self.store, "HSET", layout.badge(self.app_id, account), "total", 1)
        raw(self.store, "HSET", layout.fold(self.app_id, account, "f" * 20), "next", 1)
        kind, short, whole = dump_dead_letter(its_job, self.lane, compact=layout.is_compact)
        fields = "kind", kind, "r", short, "cause", "rejected", "reason", "TooLarge"
        letter = raw(self.store, "XADD", layout.dead_letters(self.app_id, shard), "*", *fields)
        raw(self.store, "SET", layout.dead_words(self.app_id, letter.decode(), shard), whole)
        dead = replace(device(account, "pad"), push_token=f"pad of {account}")
        RedisDeviceRegistry(self.store, self.app_ids).register(dead)
        no_guard = RemovalGuard(share=1.0)
        with_redis(self.url, lambda redis: DeviceRemoval(redis, self.app_ids, no_guard).remove(dead, LATER, LATER))
        notes = [
            record_of(Note("m1", talk, 1, 1, "accepted", whose, reason="r"))
            for whose, talk in ((account, "p2p:ann"), ("ben", "p2p:ann"), ("ben", f"p2p:{account}"))
        ]
        raw(self.store, "XADD", layout.history_new(self.app_id, shard), "*", "r", b"".join(notes))
        for whose, its in ((account, notes[:1]), ("ben", notes[1:])):
            for bucket, (field, value) in filed(its).items():
                stream = layout.history(self.app_id, bucket, layout.shard_of_account(whose))
                raw(self.store, "XADD", stream, "*", field, value)


@pytest.fixture
def operator(tmp_path: Path, store_url: str) -> Iterator[Operator]:
    made = Operator(tmp_path, store_url)
    yield made
    RedisBlocks(made.store).unblock(NAME)


def test_after_an_account_is_erased_nothing_names_it(operator: Operator) -> None:
    digest = account_digest(NAME)
    signs = [NAME.encode(), digest.encode(), repr(bytes.fromhex(digest))[2:-1].encode()]
    operator.live(NAME)
    database = open_accounts(operator.database)
    database.add(NAME, "hash", datetime.now(UTC))
    database.close()
    before = operator.stored()
    assert all(sign in before for sign in signs[:2])

    _, tried = operator.erase("--dry-run")
    assert operator.stored() == before

    result, told = operator.erase()
    assert result.exit_code == 0
    assert {name: number for name, number in told.items() if name not in ("dry_run", "keys")} == {
        "account": NAME, "devices": 1, "removed devices": 1, "messages": 2, "jobs": 2, "dead letters": 1, "notes": 4,
        "built-in accounts": 1, "spooled": 0, "api_keys": [],
    }  # fmt: skip
    assert told["notes"] == tried["notes"]
    assert json.loads(result.stderr)["what"] == "account erased"
    after = operator.stored()
    assert not [sign for sign in signs if sign in after]
    assert not [path for path in operator.database.parent.iterdir() if NAME.encode() in path.read_bytes()]
    assert b"ben" in after  # his job and notes stay
    _, again = operator.erase()
    assert not any(number for number in again.values() if isinstance(number, int) and number is not False)


def test_whoever_else_there_is_keeps_everything(operator: Operator) -> None:
    operator.live("ben")
    before = operator.stored()
    operator.erase()
    assert operator.stored() == before


def test_a_block_stays_unless_it_is_to_go_and_api_keys_are_named(operator: Operator) -> None:
    blocks, bearer = RedisBlocks(operator.store), new_bearer(uuid.uuid4().bytes * 2)
    key = ApiKey(id_of(hash_of(bearer)), f"bot-{bearer[-8:]}", "main", NAME, frozenset({Scope.PUSH_SEND}), NOON)
    RedisApiKeys(operator.store).add(key, bearer)
    try:
        blocks.block(NAME)
        assert operator.erase()[1]["api_keys"] == [key.name]
        assert blocks.is_blocked(NAME, None)
        operator.erase("--unblock")
        assert not blocks.is_blocked(NAME, None)
    finally:
        RedisApiKeys(operator.store).revoke(key.name)


def test_what_lies_in_the_spool_is_told_and_is_no_success(operator: Operator, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    operator.config.write_text(operator.config.read_text().replace("[store]", f'[store]\nspool_dir = "{folder}"'))
    spool = Spool(folder, max_bytes=1_000_000, max_age=1000 * SECOND)
    for reader in (NAME, "ben"):
        message, callback_id = for_inbox(callback(operator.app_id, [Recipient(reader)]), NOON)
        spool.keep(callback_id, dump_offline_message(message), NOON)
    result, told = operator.erase()
    assert (result.exit_code, told["spooled"]) == (1, 1)

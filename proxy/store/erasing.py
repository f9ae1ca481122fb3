"""All that the store holds of an account, found and removed: what is keyed by its digest, and what names it.

For the command line: it looks through every waiting record and the history. What is keyed by a digest of more than the
account cannot be found, and ends by itself; docs/users.md lists it.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from proxy.domain.callbacks import account_digest
from proxy.domain.dead_letters import DeadLetter
from proxy.domain.devices import Platform
from proxy.domain.history import Note
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import OfflineMessage
from proxy.store import keys
from proxy.store.compact_records import name_of_words, with_words
from proxy.store.connection import Store
from proxy.store.devices.changes import ENDED_AFTER_MS, change
from proxy.store.devices.registering import signing_out
from proxy.store.devices.registry import scanned
from proxy.store.history_records import RECORDS, filed, load_notes, record_of, unfiled
from proxy.store.queue.dead_letters import RedisDeadLetters
from proxy.store.queue.history import streams_of_history
from proxy.store.records import UnreadableRecord, load_job, load_offline_message
from proxy.store.scripts import Command, ask_now
from proxy.store.steps import take_steps

_PAGE = 500
_COUNTED = ("devices", "removed devices", "messages", "jobs", "dead letters", "notes", "keys")


class Erasure:
    """Of one account, in all sections. `app_ids` maps a section's name to its appId; `only_ask`: nothing is removed.

    `counts` says what was found. Every method raises StoreUnavailable; repeated, the whole goes on.
    """

    def __init__(
        self,
        store: Store,
        account: str,
        app_ids: Mapping[str, str],
        lanes: Sequence[Lane],
        *,
        replicas: int = 0,
        only_ask: bool = False,
    ) -> None:
        self._store, self._account, self._app_ids, self._lanes = store, account, app_ids, lanes
        self._digest, self._replicas, self._only_ask = account_digest(account), replicas, only_ask
        self.counts = Counter(dict.fromkeys(_COUNTED, 0))

    def run(self) -> None:
        """The devices first: then nothing new is planned for the account."""
        for app in self._app_ids:
            self._devices(app)
            self._removed(app)
        for app_id in sorted(set(self._app_ids.values())):
            for shard in self._store.layout.all_shards:
                self._stream("messages", self._store.layout.callbacks(app_id, shard), self._is_message)
                self._scored("messages", self._store.layout.waiting(app_id, shard), self._is_waiting)
            self._dead_letters(app_id)
            self._history(app_id)
        for lane in self._lanes:
            for shard in self._store.layout.all_shards:
                is_job = partial(self._is_job, lane=lane, shard=shard)
                self._stream("jobs", self._store.layout.jobs(lane, shard), is_job)
                self._scored("jobs", self._store.layout.retries(lane, shard), is_job)
        self._keys()

    def _devices(self, app: str) -> None:
        """As a sign-out of each; changes that are under way are undone, as if they had stood still for a minute."""
        layout, app_id = self._store.layout, self._app_ids[app]
        (names,) = self._ask([("HKEYS", layout.account_of(app_id, app, self._digest))])
        self.counts["devices"] += len(names)
        if self._only_ask:
            return
        for device_id in [*names, b""]:
            of = change(layout, app_id, app, clock=lambda: time.time() + 2 * ENDED_AFTER_MS / 1000)
            take_steps(self._store, signing_out(of, self._digest, device_id.decode()), self._replicas)

    def _removed(self, app: str) -> None:
        app_id = self._app_ids[app]
        index = self._store.layout.removed_of_account(app_id, app, self._digest)
        (records,) = self._ask([("HVALS", index)])
        self.counts["removed devices"] += len(records)
        indexes = [of(app_id, app, it) for it in Platform for of in (keys.removed, keys.held, keys.reserved)]
        self._do([("DEL", it) for it in records])
        self._do([("ZREM", it, *records) for it in indexes if records])

    def _keys(self) -> None:
        """Whatever is keyed by the account's digest."""
        ours = [it for app_id in set(self._app_ids.values()) for it in (f":{app_id}:", f"{{{app_id}}}")]
        for page in scanned(self._store, f"proxy:*{self._digest}*"):
            found = [name for name in page if any(it in name for it in ours)]
            self.counts["keys"] += len(found)
            self._do([("UNLINK", name) for name in found])

    def _stream(self, what: str, name: str, is_meant: Callable[[bytes], bool]) -> None:
        for id_, fields in self._entries(name):
            if is_meant(fields[1]):
                self.counts[what] += 1
                self._do([("XACK", name, keys.GROUP, id_), ("XDEL", name, id_)])

    def _scored(self, what: str, name: str, is_meant: Callable[[bytes], bool]) -> None:
        cursor = b"0"
        while True:
            ((cursor, found),) = self._ask([("ZSCAN", name, cursor, "COUNT", _PAGE)])
            meant = [it for it in found[::2] if is_meant(it)]
            self.counts[what] += len(meant)
            self._do([("ZREM", name, it) for it in meant])
            if int(cursor) == 0:
                break

    def _dead_letters(self, app_id: str) -> None:
        letters = RedisDeadLetters(self._store, jobs_cap=0, callbacks_cap=0)
        for letter in letters.oldest_first(app_id):
            if self._is_letter(letter):
                self.counts["dead letters"] += 1
                if not self._only_ask:
                    letters.drop(letter)

    def _history(self, app_id: str) -> None:
        """Notes of several accounts share an entry: the others' are written anew, and live for 7 days from now."""
        named = self._account.encode()
        for name in streams_of_history(self._store.layout, app_id):
            for id_, (field, value, *_) in list(self._entries(name)):
                try:
                    records = unfiled(field, value)
                except UnreadableRecord:
                    continue
                if named not in records:
                    continue
                notes = list(load_notes(records))
                kept = [note for note in notes if not self._is_note(note)]
                if len(kept) == len(notes):
                    continue
                self.counts["notes"] += len(notes) - len(kept)
                again = list(filed(map(record_of, kept)).values())
                if field == RECORDS and kept:
                    again = [(RECORDS, b"".join(map(record_of, kept)))]
                self._do([*(("XADD", name, "*", *it) for it in again), ("XDEL", name, id_)])

    # what is meant

    def _is_message(self, record: bytes) -> bool:
        """One for several readers goes on: it is planned in a moment, for the others."""
        try:
            return self._is_of(load_offline_message(record))
        except UnreadableRecord:
            return False

    def _is_waiting(self, member: bytes) -> bool:
        return self._is_message(member.partition(b"\n")[2])

    def _is_job(self, record: bytes, lane: Lane, shard: int) -> bool:
        if name := name_of_words(record):
            (words,) = self._ask([("GET", self._store.layout.words(lane.app_id, shard, name))])
            record = with_words(record, words) if words else record
        try:
            return self._is_of(load_job(record))
        except UnreadableRecord:
            return False

    def _is_letter(self, letter: DeadLetter) -> bool:
        return self._is_of(letter.subject)

    def _is_of(self, subject: object) -> bool:
        """For the account alone, or of its own writing."""
        match subject:
            case Job(account=account, alert=alert):
                written = alert.conversation == self._talk or alert.text.sender == self._account
                return written or account == self._account
            case OfflineMessage(sender=sender, recipients=recipients):
                return sender == self._account or {it.account for it in recipients} == {self._account}
            case _:
                return False

    def _is_note(self, note: Note) -> bool:
        return note.account == self._account or note.conversation == self._talk

    @property
    def _talk(self) -> str:
        return f"p2p:{self._account}"

    # the store

    def _entries(self, stream: str) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        first = "-"
        while True:
            (entries,) = self._ask([("XRANGE", stream, first, "+", "COUNT", _PAGE)])
            yield from entries
            if len(entries) < _PAGE:
                return
            first = f"({entries[-1][0].decode()}"

    def _ask(self, commands: Sequence[Command]) -> list[Any]:
        return self._store.call(partial(ask_now, commands=commands)) if commands else []

    def _do(self, commands: Sequence[Command]) -> None:
        if not self._only_ask:
            self._ask(commands)


def names_account(message: OfflineMessage, account: str) -> bool:
    return account == message.sender or any(it.account == account for it in message.recipients)

"""A change of an account's registrations over several shards, which may end halfway and is then mended by the next one.

    note -> take the push tokens -> write the list -> free the push tokens that are left over -> forget the note

The owner of a push token, in the token's shard, is the authority, and an alert goes only where it and the account's
list agree. So a token is taken before the list names it: until then the phone has what it had before, at most nothing,
and the registration that its client repeats mends that. A list loses its entry before the entry's tokens are freed.
What holds push tokens and is not, or no longer, in the list is noted in the account's own shard, in the same script as
the list changes: among its leftovers, which the account's next change frees once they are a minute old. The note is a
fence too: a change that finds its own gone has been undone, and writes nothing.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.store import keys
from proxy.store.devices.registrations import Registration, read_registration
from proxy.store.keys import Layout
from proxy.store.scripts import Command, script
from proxy.store.steps import Steps

ENDED_AFTER_MS = 60_000  # a change ends within some round trips of a second at most


@dataclass(frozen=True)
class Change:
    """One of them, in one section. `id_` tells it from all others, and when it began."""

    layout: Layout
    app_id: str
    app: str
    began_ms: int
    id_: str

    def account(self, account: str) -> str:
        """The key of the list; accounts are digests here."""
        return self.layout.account_of(self.app_id, self.app, account)

    def leftovers(self, account: str) -> str:
        return self.layout.leftovers(self.app_id, self.app, account)

    def field(self, device_id: str) -> str:
        return f"{self.id_}:new\n{device_id}"

    def read(self, device_id: str, value: bytes | None) -> Registration | None:
        return read_registration(self.layout, self.app_id, self.app, device_id, value) if value else None


@dataclass(frozen=True)
class Leftover:
    """A registration whose push tokens are to be freed, but for those that the list names: `present`, the account's
    registration of the device."""

    account: str
    device_id: str
    noted_as: str | bytes
    registration: Registration
    present: Registration | None = None

    @property
    def owner_keys(self) -> list[str]:
        """Of the push tokens to look at: not where the list names them and this program cannot read since when."""
        is_unknown = self.present is not None and self.present.at_ms is None
        kept = self.present.owner_keys if self.present and is_unknown else ()
        return [it for it in self.registration.owner_keys if it not in kept]

    def freed(self, owner_key: str) -> Command:
        is_kept = self.present is not None and owner_key in self.present.owner_keys
        kept_at_ms = self.present.at_ms if self.present and is_kept else None
        return free(owner_key, self.account, self.device_id, self.registration.at_ms, kept_at_ms)


def change(layout: Layout, app_id: str, app: str, clock: Callable[[], float] = time.time) -> Change:
    began_ms = int(clock() * 1000)
    return Change(layout, app_id, app, began_ms, f"{began_ms}-{secrets.token_hex(4)}")


def beginning(of: Change, account: str, device_id: str, new: Registration | None = None) -> Command:
    """`began` reads the answer. `new`: what is about to take push tokens."""
    names = [of.leftovers(account), of.account(account)]
    noted = (of.field(device_id), new.value) if new else ("", "")
    return script("begin_change").call(
        names, [of.id_, of.began_ms - ENDED_AFTER_MS, keys.DEVICE_TTL_S, device_id, *noted]
    )


def began(
    of: Change, account: str, device_id: str, answer: Sequence[Any]
) -> tuple[Registration | None, list[Leftover]]:
    """The account's registration of the device, and what changes before have left."""
    former, *rest = answer
    left = list[Leftover]()
    for name, value, present in rest:
        whose = name.decode().partition("\n")[2]
        registration, now = of.read(whose, value), of.read(whose, present)
        if registration:
            left.append(Leftover(account, whose, name, registration, now))
    return of.read(device_id, former), left


def dropping(
    of: Change, account: str, which: Sequence[tuple[str, bytes]], keep: int = 0, *, part: str = "drop"
) -> Command:
    """Take these devices with these registrations (b"": any) out of the list, in this order, as long as it has more
    than `keep`. `dropped` reads the answer. `part`: another one in each call of a change."""
    flat = [it for one in which for it in one]
    return script("drop_registrations").call(
        [of.account(account), of.leftovers(account)], [f"{of.id_}:{part}", keys.DEVICE_TTL_S, keep, *flat]
    )


def dropped(of: Change, account: str, answer: Sequence[Any]) -> list[Leftover]:
    found = list[Leftover]()
    for device_id, name, value in answer:
        whose = device_id.decode()
        registration = of.read(whose, value)
        if registration:
            found.append(Leftover(account, whose, name, registration))
    return found


def freeing(left: Iterable[Leftover], *, taken: Sequence[str] = ()) -> list[Command]:
    """`taken`: keys of owners that become another's in this step."""
    return [one.freed(key) for one in left for key in one.owner_keys if key not in taken]


def free(owner_key: str, account: str, device_id: str, at_ms: int | None, kept_at_ms: int | None = None) -> Command:
    moments = ["" if it is None else it for it in (at_ms, kept_at_ms)]
    return script("free_token").call([owner_key, keys.count_of(owner_key)], [account, device_id, *moments])


def forgetting(of: Change, left: Iterable[Leftover]) -> list[Command]:
    """Once their push tokens are free."""
    return [_forgetting(of, one) for one in left]


def _forgetting(of: Change, one: Leftover) -> Command:
    if one.present is None:
        return ("HDEL", of.leftovers(one.account), one.noted_as)
    names = [of.account(one.account), of.leftovers(one.account)]
    return script("forget_leftover").call(names, [one.device_id, one.present.value, one.noted_as, keys.DEVICE_TTL_S])


def settling(of: Change, left: Sequence[Leftover], besides: Sequence[Command] = ()) -> Steps[list[Any]]:
    """Free, and forget. What was free before of a registration is no fault. Returns the answers of freeing.

    What this program cannot read of a registration its owners' records say: the keys of the fallbacks' owners.
    """
    if not left and not besides:
        return []
    answers = yield [*freeing(left), *besides]
    known = [one for one in left for _ in one.owner_keys]
    others = [
        one.freed(line.decode())
        for one, lines in zip(known, answers, strict=False)
        for line in _lines(lines)
        if line.decode() not in one.registration.owner_keys
    ]
    if others:
        yield others
    if left:
        yield forgetting(of, left)
    return answers


def ending(
    of: Change, whose: Sequence[tuple[str, str]], owner_keys: Sequence[str], *, part: str
) -> Steps[list[Leftover]]:
    """Take those of these (account, device) out of their lists that name one of these push tokens."""
    answers = yield [("HGET", of.account(account), device_id) for account, device_id in whose]
    commands, accounts = list[Command](), list[str]()
    for number, ((account, device_id), value) in enumerate(zip(whose, answers, strict=True)):
        registration = of.read(device_id, value)
        if registration and not set(owner_keys).isdisjoint(registration.owner_keys):
            commands.append(dropping(of, account, [(device_id, value)], part=f"{part}{number}"))
            accounts.append(account)
    if not commands:
        return []
    found = yield commands
    return [one for account, answer in zip(accounts, found, strict=True) for one in dropped(of, account, answer)]


def _lines(lines: bytes | None) -> Iterator[bytes]:
    return iter((lines or b"").split(b"\n") if lines else ())

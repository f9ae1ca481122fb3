"""What a store says of itself, when it is asked for the first time: its identity, and how its keys are laid out.

The first process that meets a new store decides both, for all.
"""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from proxy.errors import BadSettings, StoreUnavailable
from proxy.store import keys
from proxy.store.marks import Marks
from proxy.store.scripts import Argument, Command, ask_now, ask_strictly, script


def new_id() -> str:
    return secrets.token_hex(8)


def asked(
    known: str, id_: str, now_ms: int, shards: int | None, marks: str | None = None
) -> tuple[list[str], list[Argument]]:
    """Keys and arguments of know_store.lua. `known` "": none; `id_`, `shards`, `marks`: those of a store that is new.

    One that came back empty keeps marks as the one that was lost did: what another process writes before it has
    learned of the loss is found. One without shards is for earlier programs, which know no such marks.
    """
    shards = keys.SHARDS if shards is None else shards
    if marks is None:
        marks = str(Marks.new(shards)) if shards else ""
    return [keys.identity()], [known, id_, now_ms, shards, marks]


def layout_in(answer: Sequence[Any], shards: int | None) -> keys.Layout:
    """What the script answered. Raises BadSettings where `shards` is another number, StoreUnavailable where the store
    is on its way to other shards."""
    found = int(answer[3] or 0)
    if answer[5]:
        raise StoreUnavailable("the store is being moved to other shards: app-proxy store reshard goes on with it")
    if shards is not None and shards != found:
        has = f"has {found}" if found else "has none, for an earlier version made it"
        way_out = f"leave the setting out, or move the store: app-proxy store reshard --shards {shards}"
        raise BadSettings([f"store.shards: {shards}, but the store {has}, and keeps what it began with: {way_out}"])
    return keys.Layout(found, Marks.read(answer[4].decode()) if answer[4] else None)


def layout_of(redis: Any, shards: int | None, app_ids: Sequence[str]) -> keys.Layout:
    """`shards`: of a store that is new; `app_ids`: those of the settings. Raises BadSettings, see above."""
    (known,) = ask_now(redis, [_IDENTITY])
    wanted = shards
    if not known and app_ids and any(ask_now(redis, _of_an_earlier_program(app_ids))):
        wanted = 0
    return layout_in(script("know_store").run(redis, *asked("", new_id(), _now_ms(), wanted)), shards)


async def layout_of_async(redis: Any, shards: int | None, app_ids: Sequence[str]) -> keys.Layout:
    (known,) = await ask_strictly(redis, [_IDENTITY])
    wanted = shards
    if not known and app_ids and any(await ask_strictly(redis, _of_an_earlier_program(app_ids))):
        wanted = 0
    return layout_in(await script("know_store").run_async(redis, *asked("", new_id(), _now_ms(), wanted)), shards)


_IDENTITY: Command = ("EXISTS", keys.identity())


def _of_an_earlier_program(app_ids: Sequence[str]) -> list[Command]:
    """The first versions gave a store no identity. Their workers made a stream of callbacks at once."""
    return [("EXISTS", keys.Layout(0).callbacks(app_id, 0)) for app_id in app_ids]


def _now_ms() -> int:
    return int(time.time() * 1000)

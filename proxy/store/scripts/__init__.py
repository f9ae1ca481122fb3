"""The atomic steps, each a Lua file beside this one; Redis knows them by digest."""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

Argument = str | bytes | int | float


class Script:
    """One Lua file. Sent whole only to a server that does not know it yet: a restart forgets scripts."""

    def __init__(self, name: str) -> None:
        self.text = files(__package__).joinpath(f"{name}.lua").read_bytes()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()

    def run(self, redis: Any, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        try:
            return redis.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return redis.eval(self.text.decode(), len(keys), *keys, *args)

    async def run_async(self, redis: Any, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        try:
            return await redis.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await redis.eval(self.text.decode(), len(keys), *keys, *args)


@cache
def script(name: str) -> Script:
    """The script in `name`.lua."""
    return Script(name)

"""The atomic steps, each a Lua file beside this one; Redis knows them by digest."""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError, RedisError

Argument = str | bytes | int | float
Command = tuple[Argument, ...]
_PART = re.compile(rb"^-- with (\w+)\.lua$", re.MULTILINE)


def _text_of(name: str) -> bytes:
    """Lines "-- with <name>.lua" are replaced by that file: Redis has no modules."""
    text = files(__package__).joinpath(f"{name}.lua").read_bytes()
    return _PART.sub(lambda part: _text_of(part[1].decode()), text)


class Script:
    """One Lua file. Sent whole only to a server that does not know it yet: a restart loses scripts."""

    def __init__(self, name: str) -> None:
        self.text = _text_of(name)
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], args: Sequence[Argument]) -> "Command":
        """The command that runs it, for `ask`."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)

    def run(self, redis: Any, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        return ask_now(redis, [self.call(keys, args)])[0]

    async def run_async(self, redis: Any, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        return (await ask_strictly(redis, [self.call(keys, args)]))[0]


_BY_SHA: dict[Argument, Script] = {}


@cache
def script(name: str) -> Script:
    """The script in `name`.lua."""
    found = Script(name)
    _BY_SHA[found.sha] = found
    return found


async def ask(redis: Any, commands: Sequence[Command], then: Sequence[Command] = ()) -> list[Any]:
    """The answers to all commands, in one round trip, as the server gives them.

    What the server says against one command is its answer, a ResponseError; the others are carried out. Scripts that it
    does not know are sent whole in a second round trip. `then` are plain reads of what the scripts leave: they are
    answered last, and asked again where a script had to be. Raises RedisError where there is no answer.
    """
    if not commands:
        return []
    answers: list[Any] = await redis.round_trips.ask([*commands, *then] if then else commands)
    for place, answer in enumerate(answers):
        if isinstance(answer, NoScriptError):
            return await _with_scripts(redis, commands, answers, place, then)
    return answers


async def _with_scripts(
    redis: Any, commands: Sequence[Command], answers: list[Any], first: int, then: Sequence[Command]
) -> list[Any]:
    """Send the scripts whole that the server did not know; `first` is the place of the first."""
    unknown, whole = _unknown_scripts(commands, answers, first)
    places = [*unknown, *range(len(commands), len(answers))]
    for place, answer in zip(places, await redis.round_trips.ask([*whole, *then]), strict=True):
        answers[place] = answer
    return answers


def _unknown_scripts(
    commands: Sequence[Command], answers: Sequence[Any], first: int = 0
) -> tuple[list[int], list[Command]]:
    """Where the server did not know a script, and the commands that bring it along."""
    unknown = [place for place in range(first, len(answers)) if isinstance(answers[place], NoScriptError)]
    return unknown, [("EVAL", _BY_SHA[commands[place][1]].text, *commands[place][2:]) for place in unknown]


async def ask_strictly(redis: Any, commands: Sequence[Command]) -> list[Any]:
    """The same; raises the first error among the answers."""
    return without_errors(await ask(redis, commands))


def ask_now(
    redis: Any, commands: Sequence[Command], then: Sequence[Command] = (), *, strictly: bool = True
) -> list[Any]:
    """The same for a thread's own client.

    `then` is as in `ask`, and without `strictly` so are errors. Else raises the first error among the answers.
    """
    answers: list[Any] = redis.exchange([*commands, *then] if then else commands)
    unknown, whole = _unknown_scripts(commands, answers)
    if unknown:
        places = [*unknown, *range(len(commands), len(answers))]
        for place, answer in zip(places, redis.exchange([*whole, *then]), strict=True):
            answers[place] = answer
    return without_errors(answers) if strictly else answers


def without_errors(answers: list[Any]) -> list[Any]:
    """Raises the first that is one."""
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers

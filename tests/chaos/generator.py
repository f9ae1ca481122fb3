"""MIMC's part of a run, a process of its own: people write, and messages are announced until the service takes them.

    python -m tests.chaos.generator order.json

The order is one JSON object: seed, size (see size.py), port of the web, log (the run log's path) and most_seconds.
Callbacks are posted over kept connections as they fall due; one that is not answered 200 comes again after
`repeat_after_s`, three times, and then never again. Prints {"posts", "taken", "given_up", "late_s"}.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.chaos.bodies import body_of, notice_body
from tests.chaos.messages import Announcement, Message
from tests.chaos.notices import Notice, draw_all
from tests.chaos.people import draw_people
from tests.chaos.runlog import RunLog, now_ms
from tests.chaos.size import Size
from tests.system.rig import SECTION, URL_SECRET

_CONNECTIONS = 48
_ANSWER_WITHIN_S = 4.0


@dataclass(frozen=True)
class Post:
    """One callback on its way; `number` names its body."""

    about: Message | Notice
    announcement: Announcement
    number: int
    body: bytes
    attempt: int = 1
    unheard: bool = False

    @property
    def message(self) -> Message:
        return self.about if isinstance(self.about, Message) else self.about.message


class Generator:
    def __init__(self, seed: int, size: Size, port: int, log: RunLog) -> None:
        self._size, self._port, self._log = size, port, log
        people = draw_people(seed, size)
        self._written = draw_all(seed, size, list(people.values()))
        self._due: asyncio.Queue[Post] = asyncio.Queue()
        self._open = 0
        self._numbers = 0
        self._last_ms = 0
        self._none_open = asyncio.Event()
        self.counted: Counter[str] = Counter()
        self.late_s = 0.0

    async def run(self) -> None:
        posters = [asyncio.create_task(self._post_what_is_due()) for _ in range(_CONNECTIONS)]
        began = time.monotonic()
        for written in self._written:
            wait_s = began + written.at_s - time.monotonic()
            self.late_s = max(self.late_s, -wait_s)
            await asyncio.sleep(max(wait_s, 0))
            sent_at_ms = self._last_ms = max(time.time_ns() // 1_000_000, self._last_ms + 1)
            if isinstance(written, Message):
                self._write(written, sent_at_ms)
            else:
                self._announce(written, written.announcement, notice_body(written, sent_at_ms))
        while self._open:
            self._none_open.clear()
            await self._none_open.wait()
        for poster in posters:
            poster.cancel()
        for poster in posters:
            with suppress(asyncio.CancelledError):
                await poster

    def _write(self, message: Message, sent_at_ms: int) -> None:
        self._log.write(
            "message", word=message.word, app_id=message.app_id, app=SECTION[message.app_id], sender=message.sender,
            conversation=message.conversation, topic_id=message.group.topic_id if message.group else None,
            sequence=message.sequence, sent_at_ms=sent_at_ms, has_id=message.has_id,
        )  # fmt: skip
        for announcement in message.announcements:
            self._announce(message, announcement, body_of(message, announcement, sent_at_ms))

    def _announce(self, about: Message | Notice, announcement: Announcement, body: bytes) -> None:
        self._numbers += 1
        post = Post(about, announcement, self._numbers, body, unheard=announcement.unheard)
        self._later(announcement.after_s, post)
        if announcement.twin:
            self._later(announcement.after_s, replace(post, unheard=False))

    def _later(self, after_s: float, post: Post) -> None:
        self._open += 1
        asyncio.get_running_loop().call_later(after_s, self._due.put_nowait, post)

    async def _post_what_is_due(self) -> None:
        connection = Connection(self._port)
        try:
            while True:
                post = await self._due.get()
                asked_ms = now_ms()
                status, duplicate = await connection.post(URL_SECRET[post.message.app_id], post.body)
                self._note(post, asked_ms, status, duplicate)
                self._go_on(post, status)
        finally:
            connection.close()

    def _note(self, post: Post, asked_ms: int, status: int, duplicate: bool | None) -> None:
        announcement = post.announcement
        facts: dict[str, Any] = {
            "callback": post.number, "word": post.message.word, "kind": announcement.kind,
            "recipients": announcement.recipients, "form": "old" if post.message.old else "new",
            "attempt": post.attempt, "asked_ms": asked_ms, "status": status, "duplicate": duplicate,
        }  # fmt: skip
        if isinstance(post.about, Notice):
            self._log.write("notice", why=post.about.why, by=post.about.by, **facts)
        elif announcement.resources:
            resources = dict.fromkeys(announcement.recipients, announcement.resources)
            self._log.write("posted", resources=resources, **facts)
        else:
            self._log.write("posted", **facts)

    def _go_on(self, post: Post, status: int) -> None:
        """To MIMC an answer that it did not hear is none."""
        self.counted["posts"] += 1
        taken = status == 200
        pauses = self._size.repeat_after_s
        if (taken and not post.unheard) or post.attempt > len(pauses):
            self.counted["taken" if taken else "given_up"] += 1
        else:
            self._later(pauses[post.attempt - 1], replace(post, attempt=post.attempt + 1, unheard=False))
        self._open -= 1
        if not self._open:
            self._none_open.set()


class Connection:
    """One kept connection to the web, opened again when it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, url_secret: str, body: bytes) -> tuple[int, bool | None]:
        """Status, 0 where no answer came, and whether it was called a duplicate."""
        head = f"POST /callbacks/mimc/{url_secret} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                reader, writer = await self._opened()
                writer.write(head.encode() + body)
                return await self._answer(reader)
        except (OSError, EOFError, ValueError):  # a time-out is an OSError too
            self.close()
            return 0, None

    def close(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
        self._streams = None

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams and (self._streams[0].at_eof() or self._streams[1].is_closing()):
            self.close()  # the server has ended an idle one
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bool | None]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        headers = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        envelope = json.loads(await reader.readexactly(int(headers["content-length"])))
        if headers.get("connection") == "close":
            self.close()
        return int(head[9:12]), (envelope["data"] or {}).get("duplicate")


def main(order: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in order["size"].items()
    }
    size = Size(**facts)

    async def bounded() -> Generator:
        with RunLog(Path(order["log"])) as log:
            generator = Generator(order["seed"], size, order["port"], log)
            async with asyncio.timeout(order["most_seconds"]):
                await generator.run()
            return generator

    generator = asyncio.run(bounded())
    return {**generator.counted, "late_s": round(generator.late_s, 3)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))) + "\n")

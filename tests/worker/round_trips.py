"""How many round trips to the store something takes: a relay of bytes in between counts them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

_CHUNK = 1 << 20


@dataclass
class RoundTrips:
    """`url` leads to the store. `count` grows with each question that follows an answer, on each connection."""

    url: str
    count: int = 0

    async def relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter, store_socket: str) -> None:
        store, to_store = await asyncio.open_unix_connection(store_socket)
        answered = True

        async def questions() -> None:
            nonlocal answered
            while data := await client.read(_CHUNK):
                if answered:
                    self.count, answered = self.count + 1, False
                to_store.write(data)
            to_store.close()

        async def answers() -> None:
            nonlocal answered
            while data := await store.read(_CHUNK):
                answered = True
                to_client.write(data)
            to_client.close()

        await asyncio.gather(questions(), answers(), return_exceptions=True)


@asynccontextmanager
async def counted_round_trips(store_url: str) -> AsyncIterator[RoundTrips]:
    """A relay to the store at this unix socket's URL, as long as the context lasts."""
    with TemporaryDirectory(prefix="trips") as folder:
        socket = str(Path(folder) / "s")
        trips = RoundTrips(f"unix://{socket}")
        store_socket = urlsplit(store_url).path
        server = await asyncio.start_unix_server(
            lambda reader, writer: trips.relay(reader, writer, store_socket), socket
        )
        try:
            yield trips
        finally:
            server.close()

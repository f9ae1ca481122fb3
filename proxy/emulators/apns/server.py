"""Runs the emulated APNs: the push port on asyncio, the control port in a thread beside it."""

import asyncio
import signal
import threading

from werkzeug.serving import BaseWSGIServer

from proxy.emulators.apns.config import ApnsConfig
from proxy.emulators.apns.connection import ApnsConnection
from proxy.emulators.apns.control import control_app
from proxy.emulators.apns.shared import Shared, on_loop
from proxy.emulators.certificates import ensure_certificates
from proxy.emulators.server import Announce, threaded_server


def serve_apns(config: ApnsConfig, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT; to be called on the main thread.

    Once both ports listen, `announce` is called with "emulator", "port", "control_port" and "ca_file".
    Raises OSError for a port that is taken.
    """
    asyncio.run(_serve(config, announce))


async def _serve(config: ApnsConfig, announce: Announce) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connections: set[ApnsConnection] = set()
    shared = Shared(config, lambda: _adjust_limits(loop, connections))
    certificates = ensure_certificates(config.tls_folder)
    server = await loop.create_server(
        lambda: ApnsConnection(shared, connections), config.host, config.port,
        ssl=certificates.server_context(["h2"]), ssl_shutdown_timeout=1, backlog=1000,
    )  # fmt: skip
    try:
        control = threaded_server(control_app(shared, connections, loop), "127.0.0.1", config.control_port)
        thread = threading.Thread(target=control.serve_forever, args=(0.05,), name="control")
        thread.start()
        try:
            announce({
                "emulator": "apns",
                "port": server.sockets[0].getsockname()[1],
                "control_port": control.server_port,
                "ca_file": str(certificates.ca_file.resolve()),
            })  # fmt: skip
            await stop.wait()
        finally:
            # in a thread, because a control request may just be waiting for this loop
            await asyncio.to_thread(_stop_control, control, thread)
    finally:
        server.close()
        for connection in list(connections):
            connection.abort()


def _adjust_limits(loop: asyncio.AbstractEventLoop, connections: set[ApnsConnection]) -> None:
    def adjust() -> int:
        for connection in connections:
            connection.adjust_limit()
        return len(connections)

    on_loop(loop, adjust)


def _stop_control(control: BaseWSGIServer, thread: threading.Thread) -> None:
    control.shutdown()
    thread.join()
    control.server_close()

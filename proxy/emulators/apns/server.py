"""Runs the emulated APNs: the push port on asyncio, the control port in a thread beside it."""

import asyncio
import signal
import threading

from werkzeug.serving import BaseWSGIServer

from proxy.emulators.apns.config import ApnsConfig
from proxy.emulators.apns.connection import ApnsConnection
from proxy.emulators.apns.control import control_app
from proxy.emulators.apns.shared import Shared
from proxy.emulators.certificates import Certificates, ensure_certificates
from proxy.emulators.control import Fault
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
    shared = Shared(config, lambda: asyncio.run_coroutine_threadsafe(port.adjust(), loop).result(timeout=5))
    port = _PushPort(config, shared, connections)
    await port.open()
    try:
        control = threaded_server(control_app(shared, connections, loop), "127.0.0.1", config.control_port)
        thread = threading.Thread(target=control.serve_forever, args=(0.05,), name="control")
        thread.start()
        try:
            announce({
                "emulator": "apns",
                "port": port.number,
                "control_port": control.server_port,
                "ca_file": str(port.ca_file.resolve()),
            })  # fmt: skip
            await stop.wait()
        finally:
            # in a thread, because a control request may just be waiting for this loop
            await asyncio.to_thread(_stop_control, control, thread)
    finally:
        port.close()
        for connection in list(connections):
            connection.abort()


class _PushPort:
    """Where pushes come in. By order it is closed, or shows a certificate that no client trusts."""

    def __init__(self, config: ApnsConfig, shared: Shared, connections: set[ApnsConnection]) -> None:
        self._config, self._shared, self._connections = config, shared, connections
        self._trusted = ensure_certificates(config.tls_folder)
        self._context = self._trusted.server_context(["h2"])
        self._server: asyncio.Server | None = None
        self._is_untrusted = False
        self.number = config.port
        self.ca_file = self._trusted.ca_file

    async def open(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: ApnsConnection(self._shared, self._connections), self._config.host, self.number,
            ssl=self._context, ssl_shutdown_timeout=1, backlog=1000,
        )  # fmt: skip
        self.number = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._server:
            self._server.close()
        self._server = None

    async def adjust(self) -> None:
        """Do what the faults in force say; live connections are reset where a new one could not be made."""
        is_closed, is_untrusted = (self._shared.faults.is_in_force(effect) for effect in ("closed", "untrusted"))
        if is_untrusted is not self._is_untrusted:
            self._is_untrusted = is_untrusted
            self._show(ensure_certificates(self._config.tls_folder / "untrusted") if is_untrusted else self._trusted)
        if is_closed:
            self.close()
        elif self._server is None:
            await self.open()
        for connection in list(self._connections):
            if is_closed or is_untrusted:
                connection.hit(Fault("reset"))
            else:
                connection.adjust_limit()

    def _show(self, certificates: Certificates) -> None:
        """To all who connect from now on."""
        self._context.load_cert_chain(certificates.certificate, certificates.key)


def _stop_control(control: BaseWSGIServer, thread: threading.Thread) -> None:
    control.shutdown()
    thread.join()
    control.server_close()

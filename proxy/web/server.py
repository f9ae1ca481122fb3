"""gunicorn's worker, made so that no caller can hold what others need.

One thread, the poller, takes connections and collects from each until a whole request is there; only then a thread of
the request's own share sees it (`shares`). A connection without a whole request costs no thread, has one deadline for
head and body together, and is the first to go where there are too many (`crowd`). An answer that its caller does not
read goes back to the poller as well.

gunicorn's own workers read in their threads and without a limit to the whole: as many callers as there are threads,
each slow in the middle of a request, would end the service. They also answer what they cannot parse with a page that
quotes the request, and log paths with failures: a mistyped callback URL would put its secret there.
"""

import errno
import os
import resource
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from gunicorn.http import wsgi  # type: ignore[import-untyped]  # gunicorn has no types
from gunicorn.workers.base import Worker as BaseWorker  # type: ignore[import-untyped]

from proxy.metrics import connections_ended_total
from proxy.settings import Settings
from proxy.web.addresses import is_within, network_of, peer_address
from proxy.web.answers import Answer, with_plain_settings
from proxy.web.collecting import Collector, decode_body
from proxy.web.connections import Connection, Door, State
from proxy.web.cors import shown_to
from proxy.web.crowd import Crowd
from proxy.web.exchanges import Exchange, log_fault, log_refused, status_of_fault
from proxy.web.listeners import ON_OPERATOR, Listener
from proxy.web.pages import page
from proxy.web.polling import Poller, new_poller
from proxy.web.shares import Pool, Share, longest_body, share_of
from proxy.web.together import TOGETHER, Together

log = structlog.get_logger()

_PIECE = 64 * 1024  # read at once
_ENDED_TOGETHER = 10  # of those that are late, some 100 us each
_SWEEP_S = 0.25  # between looks for deadlines that have passed
_FIRST_S = 3.0  # of a request, before its rate counts
_SIGN_IN_PATIENCE_S = 0.25
_TOGETHER = 16  # callbacks that share a round trip where so many wait, at most
_OPERATOR_THREADS = 2
_OPERATORS_CONNECTIONS = 64  # room of their own: no crowd on the public listener takes it
_LINGER_S = 2.0  # a kept connection after a stop, and one that was answered with "Connection: close"
_DISCARDED = 64 * 1024  # read after such an answer at most, or the caller would see a reset instead of the answer
_FILES_FOR_OTHERS = 128  # the store, MIMC, logs, metrics
_WARN_EVERY_S = 60.0
_SOON = ("Retry-After", "1")
_WAITING = frozenset({State.COLLECTING, State.WRITING, State.LINGERING})  # for their caller


class Worker(BaseWorker):  # type: ignore[misc]
    """Collects, then answers. `settings` is set in the new process before it begins (gunicorn.conf.py)."""

    settings: Settings
    cfg: Any

    def run(self) -> None:
        self._open()
        while self.alive:
            self._turn()
            if self.ppid != os.getppid():
                return
        self._finish()

    # the poller's side

    def _open(self) -> None:
        server, now = self.settings.server, time.monotonic()
        self.cfg = with_plain_settings(self.cfg)
        self._patience_s = server.request_timeout.total_seconds()
        self._rate = server.request_min_rate
        self._most_held = server.collected_max_bytes
        self._has_one_listener = server.has_one_listener
        self._prefix = os.environ.get("SCRIPT_NAME", "")
        self._mimc_api = _folders(self.settings.families)
        self._held = 0
        self._connections: dict[int, Connection] = {}
        self._given_back: deque[Connection] = deque()
        self._late: deque[Connection] = deque()
        self._full: set[Door] = set()  # who come in there wait until a connection ends, or for the sweep
        self._next_sweep = self._next_warning = now
        self._poller: Poller = new_poller()
        self._poller.add(self.PIPE[0])
        self._doors = {door.fd: door for door in self._make_doors()}
        for door in self._doors.values():
            door.listener.setblocking(False)
            self._poller.add(door.fd)
        threads = {
            Share.CALLBACKS: (server.callback_threads, self._patience_s),
            Share.CALLS: (server.threads, self._patience_s),
            Share.MIMC_API: (server.mimc_api_threads if self._mimc_api else 0, self._patience_s),
            Share.SIGN_INS: (server.sign_in_threads, _SIGN_IN_PATIENCE_S),
            Share.OPERATOR: (_OPERATOR_THREADS, self._patience_s),
        }
        self._pools = {
            share: Pool(share, count, patience_s, self._answer, _TOGETHER if share is Share.CALLBACKS else 1)
            for share, (count, patience_s) in threads.items()
        }

    def _make_doors(self) -> list[Door]:
        server = self.settings.server
        most = min(server.connections, _open_files() - _FILES_FOR_OTHERS - _OPERATORS_CONNECTIONS)
        if most < server.connections:
            log.warning("server.connections is more than the limit of open files allows", connections=most)
        most = max(most, 1)
        public: Crowd[Connection] = Crowd(most, min(server.connections_per_address or (most + 1) // 2, most))
        operators: Crowd[Connection] = Crowd(_OPERATORS_CONNECTIONS, _OPERATORS_CONNECTIONS)
        operator = None if server.has_one_listener else Listener.parse(server.operator_bind)
        doors = []
        for listener in self.sockets:
            is_operators = operator is not None and operator.is_at(listener.getsockname())
            crowd = operators if is_operators else public
            doors.append(Door(listener, is_operators=is_operators, crowd=crowd))
        return doors

    def _turn(self) -> None:
        ready = self._poller.wait(self._until_next())
        now = time.monotonic()
        while self._given_back:  # before the events: a connection is put here before it is armed
            self._attend(self._take_back, self._given_back.popleft(), now)
        for fd in ready:
            if (connection := self._connections.get(fd)) is not None:
                self._attend(self._go_on, connection, now)
            elif fd in self._doors:
                self._accept(self._doors[fd], now)
            elif fd == self.PIPE[0]:
                with suppress(BlockingIOError):
                    os.read(fd, 4096)
                self._poller.arm(fd)
        if now >= self._next_sweep:
            self._sweep(now)
        self._end_late(now)
        for pool in self._pools.values():
            for connection in pool.take_overdue(now):
                self._attend(self._refuse_overdue, connection, now)
        for door in [door for door in self._full if not door.crowd.is_full]:
            self._full.discard(door)
            self._poller.arm(door.fd)

    def _attend(self, handle: Callable[[Connection, float], None], connection: Connection, now: float) -> None:
        """A fault of ours with one connection ends that one; the poller goes on for all others."""
        try:
            handle(connection, now)
        except Exception as error:  # noqa: BLE001  no caller may end the thread that all callers need
            log_fault(error)
            self._cut_off(connection)

    def _cut_off(self, connection: Connection) -> None:
        """`_drop` for a connection of which nothing is certain."""
        try:
            self._drop(connection)
        except Exception as error:  # noqa: BLE001  as in `_attend`
            log.error("and it could not be ended in order", error=type(error).__name__)
            self._connections.pop(connection.fd, None)
            self._held, connection.held = self._held - connection.held, 0
            connection.state = State.GONE
            connection.sock.close()

    def _refuse_overdue(self, connection: Connection, now: float) -> None:
        origin = dict(connection.request.headers).get("ORIGIN")
        headers = [_SOON, *shown_to(origin, self.settings)]
        self._refuse(connection, 503, f"no thread for {connection.share} in time", now, headers)

    def _until_next(self) -> float:
        if self._late:
            return 0.0
        soon = self._next_sweep if self._connections else time.monotonic() + 1.0
        overdue = [when for pool in self._pools.values() if (when := pool.next_overdue()) is not None]
        return max(0.0, min([soon, *overdue]) - time.monotonic())

    def _accept(self, door: Door, now: float) -> None:
        """One at a time, so that other processes get theirs. Where there is no room it waits for some."""
        if not door.is_open:
            return
        if not door.crowd.has_room:
            self._full.add(door)
            return
        try:
            sock, client = door.listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                log.error("no more files can be opened, so the longest waiting connection is closed")
                self._evict(door.crowd.longest_waiting(), "crowded")
                return
        else:
            try:
                self._let_in(sock, client, door, now)
            except Exception as error:  # noqa: BLE001  as in `_attend`
                log_fault(error)
                if (connection := self._connections.get(sock.fileno())) is not None:
                    self._cut_off(connection)
                sock.close()
        self._poller.arm(door.fd)

    def _let_in(self, sock: socket.socket, client: Any, door: Door, now: float) -> None:
        address = self._counted_address(client)
        if door.crowd.is_crowded_by(address):
            self._warn_of(address, now)
            longest = door.crowd.longest_waiting_of(address)
            if longest is None:  # all of them have requests under way
                connections_ended_total.labels("address").inc()
                sock.close()
                return
            self._evict(longest, "address")
        elif door.crowd.is_full:
            self._evict(door.crowd.longest_waiting(), "crowded")
        sock.setblocking(False)
        connection = Connection(sock, client, address, door, now + self._patience_s)
        connection.collector = Collector(self.cfg, client, lambda request: self._admit(connection, request))
        self._connections[connection.fd] = connection
        door.crowd.add(connection, address)
        self._poller.add(connection.fd)

    def _counted_address(self, client: Any) -> str | None:
        """What counts as one caller; None for a proxy of the settings, which speaks for many."""
        address = peer_address(client[0] if isinstance(client, tuple) else "")
        return None if is_within(address, self.settings.limits.trusted_proxies) else network_of(address)

    def _warn_of(self, address: str | None, now: float) -> None:
        if now >= self._next_warning:
            self._next_warning = now + _WARN_EVERY_S
            log.warning(
                "one address holds as many connections as server.connections_per_address allows; if it is a proxy of "
                "yours, name it in limits.trusted_proxies",
                address=address,
            )

    def _admit(self, connection: Connection, request: Any) -> int:
        """The head is whole: whose request it is, and how long its body may be."""
        connection.share = share_of(
            request.method,
            request.path,
            on_operator=connection.door.is_operators,
            is_only=self._has_one_listener,
            prefix=self._prefix,
            mimc_api=self._mimc_api,
        )
        return longest_body(connection.share)

    def _go_on(self, connection: Connection, now: float) -> None:
        match connection.state:
            case State.COLLECTING:
                self._read(connection, now)
            case State.WRITING:
                self._write(connection, now)
            case State.LINGERING:
                self._discard(connection)
            case State.ANSWERING | State.GONE:
                pass

    def _read(self, connection: Connection, now: float) -> None:
        try:
            data = connection.sock.recv(_PIECE)
        except BlockingIOError:
            self._poller.arm(connection.fd)
            return
        except OSError:
            self._drop(connection)
            return
        if data:
            self._collect(connection, data, now)
        elif connection.collector.size:
            try:
                connection.collector.end()
            except Exception as error:  # noqa: BLE001  as in `_collect`
                self._refuse_fault(connection, error, now)
        else:
            self._drop(connection)

    def _collect(self, connection: Connection, data: bytes, now: float) -> None:
        if connection.began is None:
            connection.began = now
            if connection.is_kept:
                connection.deadline = now + self._patience_s
        connection.held += len(data)
        self._held += len(data)
        try:
            request = connection.collector.add(data)
        except Exception as error:  # noqa: BLE001  gunicorn's errors have no class in common
            self._refuse_fault(connection, error, now)
            return
        if self._held > self._most_held and not self._make_room(connection):
            self._refuse(connection, 503, "too many bytes are held", now, [_SOON])
        elif request is not None:
            self._hand_over(connection, request, now)
        else:
            if connection.collector.take_expectation():
                with suppress(OSError):
                    connection.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._poller.arm(connection.fd)

    def _hand_over(self, connection: Connection, request: Any, now: float) -> None:
        connection.door.crowd.end_waiting(connection, connection.address)
        connection.state, connection.request = State.ANSWERING, request
        self._pools[connection.share].put(connection, now)

    def _make_room(self, newest: Connection) -> bool:
        """Closes those that have waited longest with bytes. False where all that is held belongs to whole requests."""
        for crowd in {id(door.crowd): door.crowd for door in self._doors.values()}.values():
            for connection in crowd.waiting():
                if self._held <= self._most_held:
                    return True
                if connection.held and connection is not newest:
                    self._evict(connection, "bytes")
        return self._held <= self._most_held

    def _take_back(self, connection: Connection, now: float) -> None:
        """A thread is done with it. What the thread left to do is in its state."""
        left = connection.collector.size
        self._held += left - connection.held
        connection.held = left
        if connection.state is State.GONE:
            self._drop(connection)
            return
        connection.door.crowd.begin_waiting(connection, connection.address)
        if connection.state is State.COLLECTING and left:  # the next request came together with the last one
            self._collect(connection, b"", now)

    def _refuse_fault(self, connection: Connection, error: Exception, now: float) -> None:
        self._refuse(connection, status_of_fault(error), type(error).__name__, now)

    def _refuse(
        self, connection: Connection, status: int, reason: str, now: float, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Answers without a thread, and ends the connection; what else comes on it is not read as a request."""
        log_refused(status, reason)
        connections_ended_total.labels(str(status)).inc()
        if connection.state is State.ANSWERING:  # it was waiting for a thread
            connection.door.crowd.begin_waiting(connection, connection.address)
        connection.state, connection.deadline = State.LINGERING, now + _LINGER_S
        self._forget(connection)
        try:
            connection.sock.send(page(status, headers))
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)
            return
        self._poller.arm(connection.fd)

    def _write(self, connection: Connection, now: float) -> None:
        connection.send()
        match connection.state:
            case State.GONE:
                self._drop(connection)
            case State.WRITING:
                self._poller.arm(connection.fd, write=True)
            case State.COLLECTING if connection.collector.size:
                self._set_deadline(connection, now)
                self._collect(connection, b"", now)
            case _:
                self._set_deadline(connection, now)
                self._poller.arm(connection.fd)

    def _discard(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(_PIECE)
        except BlockingIOError:
            data = b" "
        except OSError:
            data = b""
        connection.discarded += len(data)
        if not data or connection.discarded > _DISCARDED:
            self._drop(connection)
        else:
            self._poller.arm(connection.fd)

    def _sweep(self, now: float) -> None:
        """Finds what took too long; lets newcomers in again where there was no room; tells gunicorn that we live."""
        self.notify()
        self._next_sweep = now + _SWEEP_S
        self._late.clear()
        for door in self._doors.values():
            self._late.extend(it for it in door.crowd.waiting() if self._is_late(it, now))
            if door.is_open and door.crowd.has_room:
                self._full.discard(door)
                self._poller.arm(door.fd)

    def _end_late(self, now: float) -> None:
        """Of a thousand that are late together each turn ends some, so that the requests of others come in between."""
        for _ in range(min(_ENDED_TOGETHER, len(self._late))):
            connection = self._late.popleft()
            if connection.state in _WAITING and self._is_late(connection, now):
                self._attend(self._end, connection, now)

    def _end(self, connection: Connection, now: float) -> None:
        if connection.state is State.COLLECTING and connection.began is not None:
            self._refuse(connection, 408, "too slow", now)
        else:
            self._drop(connection)

    def _is_late(self, connection: Connection, now: float) -> bool:
        if now >= connection.deadline:
            return True
        if connection.state is not State.COLLECTING or connection.began is None:
            return False
        return connection.held < self._rate * (now - connection.began - _FIRST_S)

    def _evict(self, connection: Connection | None, reason: str) -> None:
        if connection is not None:
            connections_ended_total.labels(reason).inc()
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        connection.door.crowd.remove(connection, connection.address)
        del self._connections[connection.fd]
        self._forget(connection)
        connection.state = State.GONE
        connection.sock.close()

    def _forget(self, connection: Connection) -> None:
        self._held -= connection.held
        connection.held = 0
        connection.request = None
        connection.collector.forget()

    def _finish(self) -> None:
        """Takes no connections any more; requests under way end, and kept connections have a moment for one more."""
        for door in self._doors.values():
            door.is_open = False
        now = time.monotonic()
        for connection in list(self._connections.values()):
            if connection.state is State.COLLECTING and connection.began is None:
                connection.deadline = min(connection.deadline, now + _LINGER_S)
        end = now + self.cfg.graceful_timeout
        while self._connections and time.monotonic() < end:
            self._turn()

    # the threads' side

    def _answer(self, connections: Sequence[Connection]) -> None:
        """Whatever happens, the connections go back to the poller. All are begun before the first is concluded."""
        together = Together()
        for exchange in [self._begin(connection, together) for connection in connections]:
            self._conclude(exchange)

    def _begin(self, connection: Connection, together: Together) -> Exchange:
        exchange = Exchange(connection)
        try:
            decode_body(connection.request)
            exchange.content = self._call(exchange, together)
        except BaseException as error:  # noqa: BLE001  a thread must not end with a connection in its hands
            exchange.fail(error)
        return exchange

    def _call(self, exchange: Exchange, together: Together) -> Iterable[bytes]:
        """The application's answer, or what will make it."""
        connection = exchange.connection
        response, environ = wsgi.create(
            connection.request, exchange.out, connection.client, connection.door.address, self.cfg, Answer
        )
        exchange.response = response
        environ["wsgi.multithread"] = True
        environ[ON_OPERATOR] = connection.door.is_operators
        environ[TOGETHER] = together
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        if not self.alive or not self.cfg.keepalive:
            response.force_close()
        content: Iterable[bytes] = self.wsgi(environ, response.start_response)
        return content

    def _conclude(self, exchange: Exchange) -> None:
        connection = exchange.connection
        if exchange.content is not None:
            try:
                exchange.write()
            except BaseException as error:  # noqa: BLE001  as above
                exchange.fail(error)
        connection.request = None
        connection.unsent = b"".join(exchange.out.pieces)
        connection.send()
        self._set_deadline(connection, time.monotonic())
        self._give_back(connection)

    def _set_deadline(self, connection: Connection, now: float) -> None:
        """How long the connection may stay as it is now."""
        match connection.state:
            case State.COLLECTING:
                connection.began, connection.is_kept = None, True
                connection.deadline = now + (self.cfg.keepalive if self.alive else _LINGER_S)
            case State.WRITING:
                connection.deadline = now + self._patience_s
            case _:
                connection.deadline = now + _LINGER_S

    def _give_back(self, connection: Connection) -> None:
        """First the place where the poller looks, then what wakes it."""
        self._given_back.append(connection)
        if connection.state is State.GONE or (connection.state is State.COLLECTING and connection.collector.size):
            with suppress(OSError):  # full: it is awake
                os.write(self.PIPE[1], b".")
        else:
            with suppress(OSError):  # the poller has seen it already, and closed it
                self._poller.arm(connection.fd, write=connection.state is State.WRITING)


def _folders(families: Collection[str]) -> tuple[str, ...]:
    """Of MIMC's own API, where it is open."""
    if not families:
        return ()
    from proxy.mimc.calls import folders_of  # noqa: PLC0415  not loaded where it is off

    return folders_of(families)


def _open_files() -> int:
    """How many files this process may open, after the limit was raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS names a limit that it does not allow
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft

# fmt: off
# ruff: noqa
# mypy: ignore-errors
"""The yardstick of the bench "pushes": the shortest sender on libcurl that passed ten fault cases, kept as it was written.

It builds no payload, reads no device and keeps no books: what our worker does beyond it is the price of all that. Not
to be improved: figures of different days are ratios to this very text.
"""
import asyncio
import time

import pycurl


class Gate:
    """One APNs identity (team, environment): one warm connection, a fresh one when it falls silent."""
    def __init__(self, ca_file, most=1000, timeout_ms=10_000, silence=2.0):
        self.ca_file, self.most, self.timeout_ms, self.silence = ca_file, most, timeout_ms, silence
        self.free, self.recalled, self.watching = [], set(), False
        self._open()

    def _open(self):
        self.multi = multi = pycurl.AsyncCurlMulti()
        multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
        multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, 1)          # until the first 200
        self.warm, self.probing, self.turn, self.flying, self.heard = -1, False, asyncio.Event(), {}, time.monotonic()

    async def _my_turn(self) -> bool:
        """While the connection is cold one push goes alone (True), the others wait here, not inside libcurl."""
        while self.warm < 0:
            if not self.probing: self.probing = True; return True
            turn = self.turn; turn.clear(); await turn.wait()
        return False

    def _watch(self):
        """Pushes are out and nobody has answered for a while: go on with a new connection, let the old one end by itself."""
        if self.flying and time.monotonic() - self.heard > self.silence:
            old, turn, flying = self.multi, self.turn, self.flying
            self._open(); turn.set(); self._drain(old)
            for curl, future in flying.items():
                if curl.getinfo(pycurl.REQUEST_SIZE) == 0: self.recalled.add(curl); future.cancel()   # never sent: send it elsewhere
        self.watching = bool(self.flying)
        if self.watching: asyncio.get_running_loop().call_later(.25, self._watch)

    async def send(self, url, headers, body):
        while True:
            probe, multi, flying, loop = await self._my_turn(), self.multi, self.flying, asyncio.get_running_loop()
            curl = self.free.pop() if self.free else self._handle()
            # a new socket means a cold connection (GOAWAY, reset): back to one stream before it can speak
            curl.setopt(pycurl.SOCKOPTFUNCTION, lambda fd, purpose: (loop.call_soon(self._cool, multi), 0)[1])
            curl.setopt(pycurl.URL, url); curl.setopt(pycurl.HTTPHEADER, headers); curl.setopt(pycurl.POSTFIELDS, body)
            if not flying: self.heard = time.monotonic()
            if not self.watching: self.watching = True; loop.call_later(.25, self._watch)
            try:
                flying[curl] = future = multi.add_handle(curl)
                await future
            except pycurl.error as error:
                outcome = ("not sent" if curl.getinfo(pycurl.REQUEST_SIZE) == 0 else "ambiguous", error.args[0])
            except asyncio.CancelledError:
                if curl not in self.recalled: raise
                self.recalled.discard(curl); continue
            else:
                outcome, connection = (curl.getinfo(pycurl.RESPONSE_CODE), b"".join(curl.body)), curl.getinfo(pycurl.CONN_ID)
                if multi is self.multi:
                    self.heard = time.monotonic()
                    if outcome[0] == 200 and connection > self.warm:      # a NEW connection's 200, not an old one's
                        self.warm = connection; multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, self.most)
            finally:
                flying.pop(curl, None)
                if probe and multi is self.multi: self.probing = False; loop.call_soon(self.turn.set)
            curl.body.clear(); self.free.append(curl)              # not reached when cancelled: that handle is dropped
            return outcome

    def _cool(self, multi):
        if not multi.closed: multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, 1)

    def _drain(self, multi):
        async def drain(): await asyncio.gather(*multi.futures(), return_exceptions=True); await multi.aclose()
        self.draining = asyncio.create_task(drain())

    def _handle(self):
        curl = pycurl.Curl(); curl.body = []
        for option, value in (
            (pycurl.CAINFO, self.ca_file),                        # always set: here it took Debian's bundle, SSL_CERT_FILE and CURL_CA_BUNDLE were ignored
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE),  # HTTP/2 or an error; 2TLS falls back to 1.1 silently
            (pycurl.POST, 1), (pycurl.PIPEWAIT, 1), (pycurl.NOSIGNAL, 1),
            (pycurl.NOPROXY, "*"),                                # else https_proxy of the environment applies; make it a setting
            (pycurl.CONNECTTIMEOUT_MS, 5000),                     # default 300 s
            (pycurl.TIMEOUT_MS, self.timeout_ms),                 # counts waiting inside libcurl too
            (pycurl.MAXAGE_CONN, 86400),                          # default 118 s idle, then closed
            (pycurl.MAXLIFETIME_CONN, 0),                         # default 24 h (source of 8.22)
            (pycurl.TCP_KEEPALIVE, 1), (pycurl.TCP_KEEPIDLE, 60),
            (pycurl.WRITEFUNCTION, curl.body.append)): curl.setopt(option, value)
        return curl

"""The transports in use: one per identity at a provider, shared by the lanes that have it in common."""

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.channels.http1 import Http1Transport
from proxy.channels.http2 import Http2Transport
from proxy.channels.transfer import Limits
from proxy.curl import Route
from proxy.domain.devices import ApnsEnvironment
from proxy.settings import ApnsSettings, HttpSettings, MipushSettings, ProfileSettings, WebhookSettings


@dataclass(frozen=True)
class _Identity:
    """libcurl shares connections by host; APNs wants one for each team and key."""

    team_id: str
    key_id: str
    url: str
    route: Route


@dataclass
class TransportFactory:
    """Opens each transport once, on the running event loop, and closes them all."""

    limits: Limits
    on_event: Callable[[str], None]
    _apns: dict[_Identity, Http2Transport] = field(default_factory=dict)
    _former: list[Http2Transport] = field(default_factory=list)
    _http1: list[Http1Transport] = field(default_factory=list)

    def apns(self, section: ApnsSettings, environment: ApnsEnvironment) -> Http2Transport:
        """One per team, key, host and route, whatever sections and lanes use it."""
        sandbox = environment is ApnsEnvironment.SANDBOX
        identity = _Identity(
            section.team_id,
            section.key_for(sandbox=sandbox).id,
            section.sandbox_url if sandbox else section.production_url,
            Route(section.ca_file, section.proxy),
        )
        if identity not in self._apns:
            self._apns[identity] = Http2Transport(identity.route, self.limits, self.on_event)
        return self._apns[identity]

    def open_anew(self) -> None:
        """Those to APNs that are asked for from now on: libcurl keeps what a file of authorities said."""
        self._former += self._apns.values()
        self._apns.clear()

    def mipush(self, section: MipushSettings) -> Http1Transport:
        """One per section."""
        return self._open_http1(Route(section.ca_file, section.proxy), section.connections)

    def http(self, section: HttpSettings) -> Http1Transport:
        """One per section."""
        route = Route(section.ca_file, section.proxy, section.guard, section.allow_plain)
        return self._open_http1(route, section.connections)

    def webhook(self, section: WebhookSettings) -> Http1Transport:
        """One per endpoint: a slow one holds up no other."""
        route = Route(section.ca_file, section.proxy, section.guard, section.allow_plain)
        return self._open_http1(route, section.connections)

    def profiles(self, section: ProfileSettings) -> Http1Transport:
        """One per section, with a time limit of its own: a message waits for the answer."""
        timeout_s = section.timeout.total_seconds()
        limits = Limits(push_timeout_s=timeout_s, connect_timeout_s=timeout_s, silence_min_s=timeout_s / 2)
        route = Route(section.ca_file, section.proxy, section.guard, section.allow_plain)
        return self._open_http1(route, section.connections, limits)

    def _open_http1(self, route: Route, connections: int, limits: Limits | None = None) -> Http1Transport:
        transport = Http1Transport(route, limits or self.limits, connections, self.on_event)
        self._http1.append(transport)
        return transport

    async def aclose(self) -> None:
        for http2 in (*self._apns.values(), *self._former):
            await http2.aclose()
        for http1 in self._http1:
            await http1.aclose()

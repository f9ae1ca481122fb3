"""The transports in use, one per identity: libcurl shares connections by host, and two teams must not share one."""

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.channels.before.transport import Http1Pool, Http2Gate, Limits, Route
from proxy.domain.transfers import Request, Response, TransportFailure
from proxy.settings import ApnsSettings, MipushSettings


@dataclass(frozen=True)
class ByAddress:
    """Implements ports.Transport: APNs' two worlds, told apart by the start of the URL."""

    gates: dict[str, Http2Gate]

    async def send(self, request: Request, may_send: Callable[[], bool]) -> Response | TransportFailure:
        for address, gate in self.gates.items():
            if request.url.startswith(f"{address}/"):
                return await gate.send(request, may_send)
        raise LookupError("no gate for this address")


@dataclass
class TransportFactory:
    """Opens what is asked for once, and closes it all."""

    limits: Limits
    on_event: Callable[[str], None]
    _gates: dict[tuple[str, str], Http2Gate] = field(default_factory=dict)
    _pools: list[Http1Pool] = field(default_factory=list)

    def apns(self, section: ApnsSettings) -> ByAddress:
        """Gates for both of the team's environments; shared with other sections of the team."""
        route = Route(section.ca_file, section.proxy)
        addresses = (section.production_url, section.sandbox_url)
        return ByAddress({address: self._gate(section.team_id, address, route) for address in addresses})

    def mipush(self, section: MipushSettings) -> Http1Pool:
        pool = Http1Pool(Route(section.ca_file, section.proxy), self.limits, section.connections, self.on_event)
        self._pools.append(pool)
        return pool

    async def aclose(self) -> None:
        for gate in self._gates.values():
            await gate.aclose()
        for pool in self._pools:
            await pool.aclose()

    def _gate(self, team_id: str, address: str, route: Route) -> Http2Gate:
        key = (team_id, address)
        if key not in self._gates:
            self._gates[key] = Http2Gate(route, self.limits, self.on_event)
        return self._gates[key]

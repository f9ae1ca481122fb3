"""APNs as the former worker sends: one lane for both environments."""

from collections.abc import Sequence
from datetime import datetime

from proxy.channels.apns.wire import ApnsWire
from proxy.domain.devices import ApnsEnvironment
from proxy.domain.jobs import Push
from proxy.domain.transfers import Request
from proxy.settings import ApnsSettings


class BothEnvironments(ApnsWire):
    def __init__(self, settings: ApnsSettings) -> None:
        super().__init__(settings, ApnsEnvironment.PRODUCTION)
        self._sandbox = ApnsWire(settings, ApnsEnvironment.SANDBOX)

    def build(self, pushes: Sequence[Push], authorization: str, now: datetime) -> Request:
        device = pushes[0].device
        is_sandbox = device is not None and device.environment is ApnsEnvironment.SANDBOX
        build = self._sandbox.build if is_sandbox else super().build
        return build(pushes, authorization, now)

"""The emulated APNs: HTTP/2 over TLS that refuses what Apple refuses, and fails as ordered.

    request -> judge -> Judgement -> the faults ordered -> answer, or whatever the fault makes of it -> journal

`rules`, `tokens`, `limits` and `answers` are pure; `connection` speaks HTTP/2; `server` runs it; tests order faults
and read the journal through `control`, which lists them.
It shares no code with the relay: a mistake that both share would never be noticed.
"""

from proxy.emulators.apns.config import ApnsConfig, SigningKey, Team
from proxy.emulators.apns.server import serve_apns

__all__ = ["ApnsConfig", "SigningKey", "Team", "serve_apns"]

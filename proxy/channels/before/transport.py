"""What carries pushes: HTTP requests over kept connections, knowing no provider.

    Http2Gate   one identity at APNs: one HTTP/2 connection, started gently, left when it falls silent
    Http1Pool   Mi Push: 16 to 32 HTTP/1.1 connections

Both: `await send(request, may_send)` gives Answer or NoAnswer, `await aclose()` ends them. They log nothing.
"""

from proxy.channels.before.http1 import Http1Pool
from proxy.channels.before.http2 import Http2Gate
from proxy.channels.before.transfer import CLOSED, LEASE_LOST, Limits, Route, always

__all__ = ["CLOSED", "LEASE_LOST", "Http1Pool", "Http2Gate", "Limits", "Route", "always"]

"""The emulated APNs: HTTP/2 over TLS that refuses what Apple refuses, and fails as ordered.

    request -> judge -> Judgement -> the faults ordered -> answer, or whatever the fault makes of it -> journal

`rules`, `tokens`, `limits` and `answers` are pure; `connection` speaks HTTP/2; `server` runs it; tests order faults
and read the journal through `control`, which lists them.
It shares no code with what sends pushes: a mistake that both made would never be noticed.

By hand, with clients that others wrote (AUTH is "authorization: bearer <JWT>", URL
https://127.0.0.1:PORT/3/device/ab):

    curl --http2 --cacert CA_FILE -H "$AUTH" -H "apns-topic: com.example.chat" -d '{"aps":{"alert":"hi"}}' URL
    nghttp -v -H ":method: POST" -H "$AUTH" -H "apns-topic: com.example.chat" -d payload.json URL
    h2load -n 20000 -c 1 -m 500 -H "$AUTH" -H "apns-topic: com.example.chat" -d payload.json URL
"""

from proxy.emulators.apns.config import ApnsConfig, SigningKey, Team
from proxy.emulators.apns.server import serve_apns

__all__ = ["ApnsConfig", "SigningKey", "Team", "serve_apns"]

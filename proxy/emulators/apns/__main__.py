"""python -m proxy.emulators.apns CONFIG.toml: prints the announcement as one line of JSON and nothing else.

By hand, with clients that others wrote (AUTH is "authorization: bearer <JWT>", URL
https://127.0.0.1:PORT/3/device/ab):

    curl --http2 --cacert CA_FILE -H "$AUTH" -H "apns-topic: com.example.chat" -d '{"aps":{"alert":"hi"}}' URL
    nghttp -v -H ":method: POST" -H "$AUTH" -H "apns-topic: com.example.chat" -d payload.json URL
    h2load -n 20000 -c 1 -m 500 -H "$AUTH" -H "apns-topic: com.example.chat" -d payload.json URL
"""

from proxy.emulators.apns import ApnsConfig, serve_apns
from proxy.emulators.standalone import run

if __name__ == "__main__":
    run(lambda values, announce: serve_apns(ApnsConfig.from_mapping(values), announce))

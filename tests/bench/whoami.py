"""A developer's own URL at its cheapest: `python -m tests.bench.whoami PORT` says that everybody is alice."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ANSWER = b'{"account": "alice"}'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_ANSWER)))
        self.end_headers()
        self.wfile.write(_ANSWER)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

"""A developer's own URL that knows no bearer and takes 50 ms to say so: `python -m tests.attacks.whoami PORT`."""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_TAKES_S = 0.05


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        time.sleep(_TAKES_S)
        self.send_response_only(401)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

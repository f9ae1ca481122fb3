"""What is the same wherever we use libcurl: the options that decide whom we trust and how we go, and why it failed.

Every option is given: nothing is left to the environment (proxies, CA bundles), to a .netrc or to defaults that move.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import certifi
import pycurl

from proxy.public_addresses import AddressGuard

# codes that pycurl has no name for
HTTP2_STREAM: Final = 92
PROXY: Final = 97

_LOOPBACK = "localhost,127.0.0.0/8,::1"
# whole: 127.example.com is a name of somebody else, and what is before an @ is no host
_PLAIN_LOOPBACK = re.compile(r"http://(?:127(?:\.[0-9]{1,3}){3}|localhost|\[::1\])(?::[0-9]+)?(?:/|$)")
_NO_MAXIMUM = 0

# in words of ours: libcurl's texts name hosts and paths, and an APNs path is a push token
_REASONS: dict[int, str] = {
    pycurl.E_UNSUPPORTED_PROTOCOL: "address of a forbidden kind",
    pycurl.E_URL_MALFORMAT: "malformed address",
    pycurl.E_COULDNT_RESOLVE_PROXY: "proxy's name not resolved",
    pycurl.E_COULDNT_RESOLVE_HOST: "host name not resolved",
    pycurl.E_COULDNT_CONNECT: "connection refused",
    pycurl.E_FTP_WEIRD_SERVER_REPLY: "not HTTP",  # libcurl: CURLE_WEIRD_SERVER_REPLY
    pycurl.E_HTTP2: "HTTP/2 connection broke",
    pycurl.E_PARTIAL_FILE: "answer cut short",
    pycurl.E_WRITE_ERROR: "answer too long",
    pycurl.E_OPERATION_TIMEDOUT: "no answer in time",
    pycurl.E_SSL_CONNECT_ERROR: "TLS handshake failed",
    pycurl.E_ABORTED_BY_CALLBACK: "lease lost",
    pycurl.E_GOT_NOTHING: "connection closed without an answer",
    pycurl.E_SEND_ERROR: "connection broke while sending",
    pycurl.E_SEND_FAIL_REWIND: "connection closed without an answer",  # and libcurl could not repeat it
    pycurl.E_RECV_ERROR: "connection broke while receiving",
    pycurl.E_PEER_FAILED_VERIFICATION: "certificate not trusted",
    pycurl.E_SSL_CACERT_BADFILE: "CA file unusable",
    HTTP2_STREAM: "stream reset",
    PROXY: "proxy refused",
}


@dataclass(frozen=True)
class Route:
    """How a peer is reached: which roots are trusted, and through which proxy (loopback never goes through it).

    Without a `ca_file` the roots are certifi's, which `requests` trusts too. `guard` says which addresses a connection
    may be made to; through a proxy it is the proxy that connects. `plain` lets http:// leave this machine.
    """

    ca_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)  # may hold a password
    guard: AddressGuard | None = None
    plain: bool = False

    @property
    def trusted(self) -> Path:
        return self.ca_file or Path(certifi.where())


def new_handle(route: Route, options: Iterable[tuple[int, object]]) -> pycurl.Curl:
    """An easy handle for https:// addresses on this route, with the options that go beyond it."""
    curl = pycurl.Curl()
    ca_file = str(route.trusted)
    for option, value in (
        (pycurl.NOSIGNAL, 1),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTPS),
        (pycurl.FOLLOWLOCATION, 0),
        (pycurl.NETRC, pycurl.NETRC_IGNORED),
        (pycurl.SSL_VERIFYPEER, 1),
        (pycurl.SSL_VERIFYHOST, 2),
        (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
        (pycurl.CAINFO, ca_file),
        (pycurl.PROXY_CAINFO, ca_file),
        (pycurl.PROXY, route.proxy or ""),
        (pycurl.NOPROXY, _LOOPBACK if route.proxy else "*"),
        (pycurl.MAXLIFETIME_CONN, _NO_MAXIMUM),
        (pycurl.TCP_KEEPALIVE, 1),
        (pycurl.TCP_KEEPIDLE, 60),
        (pycurl.TCP_KEEPINTVL, 20),
        *options,
    ):
        curl.setopt(option, value)
    curl.unsetopt(pycurl.CAPATH)  # a distribution's libcurl would trust its folder beside the CA file
    return curl


def reason_of(code: int) -> str:
    """Why a transfer failed, in a few words of ours without names."""
    return _REASONS.get(code, f"curl error {code}")


def protocols_of(url: str, *, plain: bool = False) -> int:
    """https:// alone, except to this machine, where the emulators are, and where `plain` allows it."""
    return pycurl.PROTO_HTTPS | (pycurl.PROTO_HTTP if plain or _PLAIN_LOOPBACK.match(url) else 0)


def parse_head(lines: Iterable[bytes]) -> dict[str, str]:
    """The headers of the final response, names in lower case; a proxy's and interim ones are no part of it."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if line.startswith(b"HTTP/"):
            headers.clear()
        elif colon:
            headers[name.strip().decode("latin-1").lower()] = value.strip().decode("latin-1")
    return headers

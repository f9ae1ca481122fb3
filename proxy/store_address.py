"""What a store's URL names: one server, a master that sentinels know, or a cluster. No I/O.

redis://, rediss:// (TLS), unix:///path                    as redis-py reads them
redis+sentinel://host:26379,host,host/service/0            rediss+sentinel://: TLS to the servers and the sentinels
redis+cluster://host:6379,host,host/                       rediss+cluster://: TLS to all its nodes; some are named
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlencode, urlsplit

# redis-py would let any other option override what we rely on: protocol, decode_responses, time-outs, retries
_OPTIONS = frozenset({"client_name", "db", "password", "username"})
_SENTINEL_OPTIONS = frozenset({"sentinel_password", "sentinel_username"})
_TLS_OPTIONS = frozenset({
    "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile", "ssl_password",
})  # fmt: skip
_PATHS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_PLAIN_SCHEMES, _SENTINEL_SCHEMES = ("redis", "rediss", "unix"), ("redis+sentinel", "rediss+sentinel")
_CLUSTER_SCHEMES = ("redis+cluster", "rediss+cluster")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")
_SENTINEL_PORT, _SERVER_PORT = 26379, 6379
_NO_URL = "not a URL; in a name or password, / ? # @ : must be written as %2F %3F %23 %40 %3A"
_EXPECTED = (
    "must start with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or "
    "rediss+cluster://"
)


@dataclass(frozen=True)
class StoreAddress:
    """`url` is for redis-py. Where there are `sentinels` it names no server, but how to talk to it, and
    `sentinels_url` how to talk to them; where there are `nodes` of a cluster, how to talk to each of its nodes. `shown`
    has no name and no password. `files`: what its options name.
    """

    shown: str
    url: str = field(repr=False)
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinels_url: str = field(default="", repr=False)
    nodes: tuple[tuple[str, int], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def read_store_address(url: str) -> StoreAddress:
    """Raises ValueError, with a sentence that repeats nothing of the URL."""
    scheme, _, rest = url.partition("://")
    if scheme in _SENTINEL_SCHEMES:
        return _of_sentinels(scheme.startswith("rediss"), rest)
    if scheme in _CLUSTER_SCHEMES:
        return _of_cluster(scheme.startswith("rediss"), rest)
    if scheme not in _PLAIN_SCHEMES:
        raise ValueError(_EXPECTED)
    try:
        parts = urlsplit(url)
        readable = parts.port != 0
    except ValueError:
        readable = False
    if not readable:
        raise ValueError(_NO_URL)
    options = _options(parts.query, _OPTIONS | (_TLS_OPTIONS if scheme == "rediss" else frozenset()))
    host = parts.hostname or "localhost"
    at = parts.path if scheme == "unix" else f"{f'[{host}]' if ':' in host else host}:{parts.port or 6379}"
    return StoreAddress(at, url, files=_files(options))


def _of_sentinels(is_tls: bool, rest: str) -> StoreAddress:
    login, sentinels, path, query = _several(rest, _SENTINEL_PORT)
    service, _, database = path.partition("/")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", service):
        raise ValueError("must name the service after the sentinels: redis+sentinel://host:26379,host,host/mymaster/0")
    tls = _TLS_OPTIONS if is_tls else frozenset()
    options = _options(query, _OPTIONS | _SENTINEL_OPTIONS | tls)
    options = {"db": database or "0", **options}
    if not (options["db"].isascii() and options["db"].isdigit()):
        raise ValueError(
            "must have the database's number after the service: redis+sentinel://host,host,host/mymaster/0"
        )
    scheme, trust = "rediss" if is_tls else "redis", {name: options[name] for name in options.keys() & tls}
    of_sentinels = {name.removeprefix("sentinel_"): options.pop(name) for name in _SENTINEL_OPTIONS & options.keys()}
    return StoreAddress(
        f"the master {service} of {_shown(sentinels)}",
        f"{scheme}://{login + '@' if login else ''}{service}?{urlencode(options, quote_via=quote)}",
        sentinels,
        service,
        f"{scheme}://{service}?{urlencode(of_sentinels | trust, quote_via=quote)}",
        files=_files(options),
    )


def _of_cluster(is_tls: bool, rest: str) -> StoreAddress:
    login, nodes, path, query = _several(rest, _SERVER_PORT)
    options = _options(query, _OPTIONS - {"db"} | (_TLS_OPTIONS if is_tls else frozenset()))
    if path not in ("", "0"):
        raise ValueError("must have nothing behind the hosts: redis+cluster://host,host,host/ has no other database")
    scheme = "rediss" if is_tls else "redis"
    return StoreAddress(
        f"the cluster of {_shown(nodes)}",
        f"{scheme}://{login + '@' if login else ''}cluster?{urlencode(options, quote_via=quote)}",
        nodes=nodes,
        files=_files(options),
    )


def _several(rest: str, port: int) -> tuple[str, tuple[tuple[str, int], ...], str, str]:
    """Name and password, the hosts, the path and the options; `port` is that of a host without one."""
    place, _, query = rest.partition("?")
    netloc, _, path = place.partition("/")
    login, _, hosts = netloc.rpartition("@")
    found = [_HOST.fullmatch(host) for host in hosts.split(",")]
    read = tuple((one[1].strip("[]"), int(one[2] or port)) for one in found if one)
    if len(read) < len(found) or "#" in rest or not all(0 < port < 65536 for _, port in read):
        raise ValueError(_NO_URL)
    return login, read, path, query


def _shown(hosts: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in hosts)


def _options(query: str, allowed: frozenset[str]) -> dict[str, str]:
    found = parse_qs(query, keep_blank_values=True)
    if not found.keys() <= allowed:
        raise ValueError(f"may have after its ? only {', '.join(sorted(allowed))}: all else is chosen by this program")
    if not all(number.isascii() and number.isdigit() for number in found.get("db", [])):
        raise ValueError("db: expected a number after its ?")
    return {name: values[0] for name, values in found.items()}


def _files(options: Mapping[str, str]) -> dict[str, str]:
    return {name: options[name] for name in _PATHS if options.get(name)}

"""The environment of the processes that a local run starts."""

import os
from collections.abc import Mapping

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def child_environment(own: Mapping[str, str], base: Mapping[str, str] | None = None) -> dict[str, str]:
    """`base` (ours, unless given) with what belongs to one child, made fit for servers on loopback."""
    environment = {**(os.environ if base is None else base), **own}
    if not environment.get("WEB_CONCURRENCY", "x").strip():
        del environment["WEB_CONCURRENCY"]  # gunicorn 27 stops with a traceback when it is set but empty
    environment["PYTHONUNBUFFERED"] = "1"  # a log that is read while it is written
    return without_proxy_on_loopback(environment)


def without_proxy_on_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """The same environment, in which no library sends requests to this machine through a proxy."""
    direct = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host.strip() for host in direct.split(",") if host.strip()]
    if hosts != ["*"]:  # curl takes the star only alone
        hosts += [host for host in _LOOPBACK if host not in hosts]
    return {**environment, "no_proxy": ",".join(hosts), "NO_PROXY": ",".join(hosts)}

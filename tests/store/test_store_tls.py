"""A store, its sentinels, and a cluster, over TLS with client certificates; the embedded store's server has no TLS."""

import gc
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from proxy.emulators.certificates import Certificates, ensure_certificates
from proxy.errors import StoreUnavailable
from proxy.local.ports import free_port
from proxy.store.connection import Store
from proxy.store.scripts import ask
from tests.sentinels import until_true
from tests.store.samples import with_redis

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")


def speaks_tls() -> bool:
    """Built with it: else the option is unknown."""
    if SERVER is None:
        return False
    said = subprocess.run([SERVER, "--port", "0", "--tls-port", "1"], capture_output=True, text=True, check=False)
    return "tls-cert-file" in said.stdout


pytestmark = [
    pytest.mark.system,
    pytest.mark.trial,
    pytest.mark.skipif(not speaks_tls(), reason="no Redis or Valkey with TLS on PATH"),
    # asyncio ends a TLS connection in a later turn of the loop, which ends first here
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return ensure_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[tuple[int, int, int]]:
    """Of a server, of its sentinel and of the only node of a cluster."""
    folder = tmp_path_factory.mktemp("servers")
    server, sentinel, node = free_port(), free_port(), free_port()
    tls = [
        "port 0", "bind 127.0.0.1", "tls-replication yes", f"dir {folder}", f"tls-cert-file {certificates.certificate}",
        f"tls-key-file {certificates.key}", f"tls-ca-cert-file {certificates.ca_file}",
    ]  # fmt: skip
    (folder / "server.conf").write_text("\n".join([*tls, f"tls-port {server}", 'save ""']))
    watches = [f"sentinel monitor mymaster 127.0.0.1 {server} 1"]
    (folder / "sentinel.conf").write_text("\n".join([*tls, f"tls-port {sentinel}", *watches]) + "\n")
    clusters = ["cluster-enabled yes", "cluster-config-file nodes", f"cluster-port {free_port()}", "tls-cluster yes"]
    (folder / "node.conf").write_text("\n".join([*tls, *clusters, f"tls-port {node}", 'save ""']))
    assert SERVER is not None
    argvs = [
        [SERVER, str(folder / "server.conf")],
        [SERVER, str(folder / "sentinel.conf"), "--sentinel"],
        [SERVER, str(folder / "node.conf")],
    ]
    children = [subprocess.Popen(argv, stdout=subprocess.DEVNULL) for argv in argvs]
    try:
        with Redis(port=node, ssl=True, ssl_certfile=str(certificates.certificate), ssl_keyfile=str(certificates.key),
                   ssl_ca_certs=str(certificates.ca_file)) as client:  # fmt: skip
            until_true(client.ping, "the node")
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        yield server, sentinel, node
    finally:
        for child in children:
            child.kill()
            child.wait(10)


@pytest.fixture(autouse=True)
def _ended_connections() -> Iterator[None]:
    """They go here, where a warning of them is expected, and not in whatever test comes next."""
    yield
    gc.collect()


@pytest.fixture(
    params=[
        "rediss://127.0.0.1:{0}/0", "rediss+sentinel://127.0.0.1:{1}/mymaster/0", "rediss+cluster://127.0.0.1:{2}/"
    ]
)  # fmt: skip
def place(request: pytest.FixtureRequest, ports: tuple[int, int, int]) -> str:
    return str(request.param).format(*ports)


def test_it_is_asked_over_tls_with_our_certificate(place: str, certificates: Certificates) -> None:
    url = f"{place}?ssl_ca_certs={certificates.ca_file}&ssl_certfile={certificates.certificate}"
    url = f"{url}&ssl_keyfile={certificates.key}"
    until = time.monotonic() + 20
    while not Store(url, timeout_s=5.0).answers():  # a Store by itself asks again a second later
        assert time.monotonic() < until
        time.sleep(0.05)
    assert Store(url, timeout_s=5.0).call(lambda redis: redis.set("written", "here"))
    assert with_redis(url, lambda redis: ask(redis, [("GET", "written")])) == [b"here"]


def test_neither_a_stranger_is_trusted_nor_are_we_without_a_certificate(
    place: str, certificates: Certificates, tmp_path: Path
) -> None:
    another = ensure_certificates(tmp_path)
    ours = f"ssl_certfile={certificates.certificate}&ssl_keyfile={certificates.key}"
    for options in (f"ssl_ca_certs={another.ca_file}&{ours}", f"ssl_ca_certs={certificates.ca_file}"):
        with pytest.raises(StoreUnavailable):
            Store(f"{place}?{options}").call(lambda redis: redis.ping())

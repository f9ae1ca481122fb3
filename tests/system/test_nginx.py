"""config/nginx.conf, run by a real nginx before the service: only whole requests go on, and no log has secrets."""

import json
import os
import shutil
import socket
import ssl

import pytest
import trustme

from proxy.local.ports import free_port
from proxy.mimc.wire import MAX_BODY
from proxy.settings import ServerSettings
from tests.listening import listens
from tests.system.rig import MAIN, ROOT, URL_SECRET, Process, Rig, offline

SITE = ROOT / "config/nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(
    NGINX is None, reason="no nginx here: config/nginx.conf is only compared with the service's settings, not run"
)


def test_the_site_agrees_with_the_service() -> None:
    said = SITE.read_text()
    assert f"server {ServerSettings().bind};" in said
    assert f"client_max_body_size {MAX_BODY >> 20}m;" in said
    assert "proxy_request_buffering on;" in said
    assert said.count("{") == said.count("}")


class Site:
    """nginx with this file, but for its ports, paths and certificate."""

    def __init__(self, rig: Rig, upstream: int) -> None:
        self._rig = rig
        self.port = free_port()
        self.folder = rig.folder / "nginx"
        self.folder.mkdir()
        authority = trustme.CA()
        certificate = authority.issue_cert("chat.example.com")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.folder / "all.pem")
        self._trust = ssl.create_default_context()
        authority.configure_trust(self._trust)
        text = SITE.read_text()
        for old, new in {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "server 127.0.0.1:8080": f"server 127.0.0.1:{upstream}",
            "/etc/nginx/tls/chat.example.com.pem": f"{self.folder}/all.pem",
            "/etc/nginx/tls/chat.example.com.key": f"{self.folder}/all.pem",
            "/var/log/nginx/error.log": f"{rig.logs}/nginx-error.log",
        }.items():
            assert old in text
            text = text.replace(old, new)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"{kind}_temp_path {self.folder}/{kind};\n" for kind in kinds)
        (self.folder / "nginx.conf").write_text(
            f"{'user root;' if os.geteuid() == 0 else ''}\ndaemon off;\nworker_processes 1;\n"
            f"pid {self.folder}/pid;\nerror_log {rig.logs}/nginx-error.log;\nevents {{}}\n"
            f"http {{\n{paths}access_log {rig.logs}/nginx-access.log;\n{text}\n}}\n"
        )

    def start(self) -> Process:
        assert NGINX
        own = ["-e", f"{self._rig.logs}/nginx-error.log", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        process = self._rig.start("nginx", [NGINX, *own])
        self._rig.wait(lambda: listens("127.0.0.1", self.port), "nginx")
        return process

    def connect(self) -> ssl.SSLSocket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return self._trust.wrap_socket(connection, server_hostname="chat.example.com")


def request(path: str, body: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: chat.example.com", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", body]).encode()


@needs_nginx
def test_what_has_not_come_whole_does_not_reach_the_service(rig: Rig) -> None:
    """A socket of the test's own plays the service: what arrives first are the requests that began last."""
    with socket.create_server(("127.0.0.1", 0)) as service:
        service.settimeout(30)
        site = Site(rig, service.getsockname()[1])
        site.start()
        slow_one = request("/api/account/token", "a" * 1000)
        with site.connect() as slow:
            slow.sendall(slow_one[:-1])
            for _ in range(3):  # nginx has one process here, which has seen the slow one before these
                with site.connect() as quick:
                    quick.sendall(request("/api/account/token", "b" * 1000, "X-Forwarded-For: 192.0.2.1"))
                    arrived = received(service)
                assert arrived.endswith(b"b" * 1000)
                assert b"X-Forwarded-For: 127.0.0.1\r\n" in arrived
                assert b"192.0.2.1" not in arrived
            slow.sendall(slow_one[-1:])
            assert received(service).endswith(b"a" * 1000)


def received(service: socket.socket) -> bytes:
    """One request of 1,000 bytes."""
    connection, _ = service.accept()
    connection.settimeout(30)
    text = b""
    while len(text.partition(b"\r\n\r\n")[2]) < 1000 and (more := connection.recv(65536)):
        text += more
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    connection.close()
    return text


@needs_nginx
def test_a_callback_goes_through_and_its_secret_is_in_no_log_even_where_the_service_is_gone(rig: Rig) -> None:
    web = rig.start_web(1, APP_PROXY_LIMITS__TRUSTED_PROXIES="127.0.0.1")
    site = Site(rig, int(rig.web.rpartition(":")[2]))
    nginx = site.start()
    path, body = f"/callbacks/mimc/{URL_SECRET[MAIN]}", json.dumps(offline("bob", "alice", "hello", 1))
    assert answered(site, request(path, body)).startswith(b"HTTP/1.1 200")
    for hidden in ("/metrics", "/readyz", "/healthz"):
        assert answered(site, request(hidden, "")).startswith(b"HTTP/1.1 404")
    web.stop()
    assert answered(site, request(path, body)).startswith(b"HTTP/1.1 502")
    assert answered(site, request(path, "x" * (MAX_BODY + 1))).startswith(b"HTTP/1.1 413")
    nginx.stop()
    assert "nginx-error.log" in {log.name for log in rig.logs.iterdir()}
    assert not rig.leaks()


def answered(site: Site, text: bytes) -> bytes:
    with site.connect() as connection:
        connection.sendall(text)
        return connection.recv(65536)

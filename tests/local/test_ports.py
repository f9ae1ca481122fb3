"""Free and taken ports, on real sockets."""

import socket

import pytest

from proxy.local.ports import PortTaken, free_port, port_taken, require_free
from tests.listening import listens


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_free_port_is_not_taken_until_somebody_listens(host: str) -> None:
    try:
        port = free_port(host)
    except OSError:
        assert host == "::1", "every machine has 127.0.0.1"
        return
    assert not port_taken(host, port)
    assert not listens(host, port)
    with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
        assert port_taken(host, port)
        assert listens(host, port)


def test_a_taken_port_is_refused_with_the_setting_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} on 127\.0\.0\.1 is taken .* set WEB_PORT to a free port"):
            require_free("127.0.0.1", port, "WEB_PORT")


def test_a_port_whose_server_just_ended_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server.accept()[0].close()  # the server closes first, so its side stays in TIME_WAIT
        client.close()
    require_free("127.0.0.1", port, "WEB_PORT")

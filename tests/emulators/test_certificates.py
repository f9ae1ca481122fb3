"""The emulators' own authority."""

import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.emulators.certificates import ensure_certificates


def test_concurrent_callers_get_the_same_certificates(tmp_path: Path) -> None:
    def read(_: int) -> tuple[bytes, ...]:
        made = ensure_certificates(tmp_path / "tls")
        made.server_context()  # fails where key and certificate do not belong together
        return made.ca_file.read_bytes(), made.certificate.read_bytes(), made.key.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(read, range(8)))) == 1


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_strict_client_trusts_the_certificate_under_each_name_of_this_machine(tmp_path: Path, name: str) -> None:
    made = ensure_certificates(tmp_path / "tls")
    trusting = ssl.create_default_context(cafile=str(made.ca_file))
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = made.server_context().wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    done: set[ssl.SSLObject] = set()
    for _ in range(5):
        for side in (client, server):
            try:
                side.do_handshake()  # raises SSLCertVerificationError where the client does not trust the server
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    assert done == {client, server}


def test_the_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path / "tls")
    modes = {path.stat().st_mode & 0o777 for path in (made.ca_file, made.certificate, made.key)}
    assert (modes, (tmp_path / "tls").stat().st_mode & 0o777) == ({0o600}, 0o700)

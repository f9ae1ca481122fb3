"""The emulators' own authority."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from proxy.emulators.certificates import ensure_certificates


def test_concurrent_callers_get_the_same_certificates(tmp_path: Path) -> None:
    def read(_: int) -> tuple[bytes, ...]:
        made = ensure_certificates(tmp_path / "tls")
        made.server_context()  # fails where key and certificate do not belong together
        return made.ca_file.read_bytes(), made.certificate.read_bytes(), made.key.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(read, range(8)))) == 1

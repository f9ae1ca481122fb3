"""Until when certificates are good: those in a PEM file, and the one that a server shows."""

import socket
import ssl
from datetime import datetime
from pathlib import Path

from cryptography import x509


def ends_in_file(path: Path) -> list[datetime]:
    """When each certificate of the file ends (aware UTC); [] where there is none. Raises OSError."""
    try:
        return [it.not_valid_after_utc for it in x509.load_pem_x509_certificates(path.read_bytes())]
    except ValueError:  # a public key, for one
        return []


def end_at_server(host: str, port: int, ca_file: Path | None, timeout_s: float) -> datetime:
    """When the certificate ends that this server shows now (aware UTC).

    Raises OSError (ssl.SSLError is one) where there is no trusted connection.
    """
    context = ssl.create_default_context(cafile=ca_file)
    with (
        socket.create_connection((host, port), timeout=timeout_s) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        shown = tls.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(shown or b"").not_valid_after_utc

"""The emulators' TLS certificates: an authority of their own, made where the folder has none yet."""

import fcntl
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Three PEM files: the authority that clients trust, and the emulators' certificate with its key."""

    ca_file: Path
    certificate: Path
    key: Path

    def server_context(self, alpn: list[str] | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


def ensure_certificates(folder: Path) -> Certificates:
    """The folder's certificates for localhost, 127.0.0.1 and ::1; made on the first call, readable by the owner alone.

    Any number of processes may call this at once: all get the same.
    """
    found = Certificates(folder / "emulator-ca.pem", folder / "emulator.pem", folder / "emulator-key.pem")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (found.ca_file.exists() and found.certificate.exists() and found.key.exists()):
            _make(found)
    return found


def _make(target: Certificates) -> None:
    authority = trustme.CA(organization_name="MIMC app proxy emulators")
    made = authority.issue_cert("localhost", "127.0.0.1", "::1")
    _write(made.private_key_pem, target.key)
    _write(made.cert_chain_pems[0], target.certificate)
    _write(authority.cert_pem, target.ca_file)


def _write(pem: trustme.Blob, path: Path) -> None:
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    pem.write_to_path(draft)
    draft.replace(path)

"""Where an issuer's keys come from, and how they change while the service runs. Safe to share between threads."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

import requests
import structlog

from proxy.auth.bounded_http import read_body, session_for
from proxy.auth.credentials import Unavailable
from proxy.auth.jwt_keys import Key, KeySet, jwks_keys, pem_key, secret_key
from proxy.files import stamp
from proxy.public_keys import NotAKey
from proxy.settings import FileSecret, JwtSettings, key_text
from proxy.strict_json import read_object

log = structlog.get_logger()

# issuer, and when its keys came
KeysFetched = Callable[[str, datetime], None]
Monotonic = Callable[[], float]
V = TypeVar("V")

_LOOK_EVERY_S = 1.0
_OLD_AFTER_S = 600.0
_FETCH_EVERY_S = 5.0
_AFTER_FAILURE_S = 30.0
_UNKNOWN_FOR_S = 30.0
_MOST_REMEMBERED = 10_000
_FETCH_PATIENCE_S = 3.0
_MOST_BYTES = 256 * 1024


class KeySource(Protocol):
    """The keys of one issuer."""

    def look(self) -> KeySet:
        """The keys as they are known; it costs next to nothing and never waits."""

    def ask_for(self, kid: str | None, client: str) -> Sequence[Key] | Unavailable:
        """The keys of a `kid` that is not among those known, once the issuer was asked; none: it has no such key.

        For tokens that are in order but for their signature. `client` is who showed it: where a question was in vain,
        that client has to wait, and no other.
        """


class FileKeys:
    """Secrets and key files. A file is looked at again, at most once a second, and read when it has changed.

    What cannot be read or is no key leaves the keys as they are: a file that is just being written, for one.
    """

    def __init__(self, name: str, settings: JwtSettings, monotonic: Monotonic = time.monotonic) -> None:
        self._name, self._settings, self._monotonic = name, settings, monotonic
        secret_files = (secret.path for secret in settings.all_secrets if isinstance(secret, FileSecret))
        self._files = (*secret_files, *settings.all_public_key_files)
        self._lock = threading.Lock()
        self._stamps, self._refused = self._stamp(), list[object]()
        self._keys = self._read()
        self._next_look = monotonic() + _LOOK_EVERY_S

    def look(self) -> KeySet:
        if self._files and self._monotonic() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._next_look = self._monotonic() + _LOOK_EVERY_S
                self._read_changes()
            finally:
                self._lock.release()
        return self._keys

    def ask_for(self, kid: str | None, client: str) -> Sequence[Key] | Unavailable:  # noqa: ARG002  all are here
        return ()

    def _read_changes(self) -> None:
        stamps = self._stamp()
        if stamps == self._stamps:
            return
        try:
            self._keys = self._read()
        except (OSError, ValueError) as error:
            if stamps != self._refused:
                log.warning("changed keys cannot be used; the old ones stay", issuer=self._name, why=_why(error))
            self._refused = stamps
            return
        self._stamps = stamps
        log.info("an issuer's keys have changed", issuer=self._name, keys=len(self._keys.keys))

    def _stamp(self) -> list[object]:
        return [stamp(path) for path in self._files]

    def _read(self) -> KeySet:
        allowed = self._settings.algorithms
        secrets = [secret_key(key_text(secret, allowed), allowed) for secret in self._settings.all_secrets]
        pems = [pem_key(path.read_bytes(), allowed) for path in self._settings.all_public_key_files]
        return KeySet((*secrets, *pems))


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, NotAKey) else type(error).__name__


class JwksKeys:
    """A JWK set at the issuer's address.

    It is fetched when first needed; again in the background once it is ten minutes old, and at once for an unknown
    `kid`, at most every five seconds. While the issuer is down the old keys stay.

    Anyone can make up an unknown `kid`, and that must not keep the issuer's next key from us. A client that had the set
    fetched in vain waits for half a minute, and others do not wait for them. A fetch brings all keys, whoever caused
    it. A `kid` is called unknown only after a fetch that came after its client showed it first: until then nothing is
    decided.
    """

    def __init__(
        self,
        name: str,
        settings: JwtSettings,
        on_fetched: KeysFetched,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._name, self._settings, self._on_fetched, self._monotonic = name, settings, on_fetched, monotonic
        self._fetching = threading.Lock()
        self._keys: KeySet | None = None
        self._fetched_at = self._tried_at = float("-inf")
        self._failed = False
        self._fetches = 0
        self._seen = _Recent[int](_MOST_REMEMBERED)  # clients with unknown kids, and how many fetches came before
        self._in_vain = _Recent[float](_MOST_REMEMBERED)  # clients, and when they had the set fetched in vain

    def look(self) -> KeySet:
        keys = self._keys
        if keys is None:
            return _NO_KEYS
        if self._monotonic() - self._fetched_at > _OLD_AFTER_S and self._may_fetch():
            self._fetch_in_background()
        return keys

    def ask_for(self, kid: str | None, client: str) -> Sequence[Key] | Unavailable:
        # of a client, because some kids can be foreseen
        before = self._seen.setdefault(f"{client}\n{kid}", self._fetches)
        # one thread fetches, the others wait for its result
        if self._fetching.acquire(timeout=_FETCH_PATIENCE_S):
            try:
                if not self._named(kid) and self._wait_s(before, client) <= 0:
                    self._fetch()
                    if not self._failed and not self._named(kid):
                        self._in_vain.keep(client, self._monotonic())
            finally:
                self._fetching.release()
        if found := self._named(kid):
            return found
        wait_s = self._wait_s(before, client)
        if self._keys is None:
            return Unavailable("no keys yet", wait_s)
        if self._failed:
            return Unavailable("unknown kid, issuer down", wait_s)
        return () if self._fetches > before else Unavailable("unknown kid, issuer asked just now", wait_s)

    def _named(self, kid: str | None) -> Sequence[Key]:
        return self._keys.named(kid) if self._keys else ()

    def _wait_s(self, before: int, client: str) -> float:
        """Until this client may have the set fetched for a kid that it first showed after `before` fetches."""
        now, waits = self._monotonic(), [self._tried_at + self._pause_s]
        if self._keys is not None:
            waits.append(self._in_vain.get(client, float("-inf")) + _UNKNOWN_FOR_S)
            if self._fetches > before:
                waits.append(self._fetched_at + _UNKNOWN_FOR_S)
        return max(waits) - now

    @property
    def _pause_s(self) -> float:
        return _AFTER_FAILURE_S if self._failed and self._keys is not None else _FETCH_EVERY_S

    def _may_fetch(self) -> bool:
        return self._monotonic() - self._tried_at >= self._pause_s

    def _fetch_in_background(self) -> None:
        if self._fetching.acquire(blocking=False):
            threading.Thread(target=self._fetch_and_release, name=f"jwks-{self._name}", daemon=True).start()

    def _fetch_and_release(self) -> None:
        try:
            if self._may_fetch():
                self._fetch()
        finally:
            self._fetching.release()

    def _fetch(self) -> None:
        self._tried_at = self._monotonic()
        try:
            keys = jwks_keys(_json(self._settings), self._settings.algorithms)
        except (requests.RequestException, ValueError) as error:
            self._failed = True
            age = None if self._keys is None else round(self._monotonic() - self._fetched_at)
            log.warning("an issuer's keys cannot be fetched; the old ones stay", issuer=self._name, age_s=age,
                        why=type(error).__name__)  # fmt: skip
            return
        if self._keys is None or keys.identities != self._keys.identities:
            log.info("an issuer's keys have changed", issuer=self._name, keys=len(keys.keys))
        self._keys, self._failed = keys, False
        self._fetches += 1
        self._fetched_at = self._monotonic()
        self._on_fetched(self._name, datetime.now(UTC))


_NO_KEYS = KeySet(())


class _Recent(Generic[V]):
    """What was kept last by name, at most `most` of it; of a name its digest alone. Safe to share between threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, V] = OrderedDict()

    def get(self, name: str, default: V) -> V:
        with self._lock:
            return self._kept.get(_digest(name), default)

    def keep(self, name: str, value: V) -> None:
        with self._lock:
            self._keep(_digest(name), value)

    def setdefault(self, name: str, value: V) -> V:
        """What was kept of the name, which counts as kept just now; else the value, which is kept."""
        digest = _digest(name)
        with self._lock:
            return self._keep(digest, self._kept.get(digest, value))

    def _keep(self, digest: bytes, value: V) -> V:
        self._kept[digest] = value
        self._kept.move_to_end(digest)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _json(settings: JwtSettings) -> object:
    """Raises requests.RequestException or ValueError: no answer, not 200, over 256 KiB, too slow, not JSON."""
    deadline = time.monotonic() + _FETCH_PATIENCE_S
    with (
        session_for(settings.ca_file) as session,
        session.get(
            settings.jwks_url or "",
            headers={"Accept": "application/jwk-set+json, application/json", "User-Agent": "mimc-app-proxy"},
            timeout=_FETCH_PATIENCE_S,
            allow_redirects=False,
            stream=True,
        ) as response,
    ):
        if response.status_code != 200:
            raise requests.HTTPError
        return read_object(read_body(response.raw, _MOST_BYTES, deadline))

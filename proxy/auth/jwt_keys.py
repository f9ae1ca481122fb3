"""The keys that bearers are verified with: each knows the algorithms that it may be used with, and no other is."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.api_jws import PyJWS

from proxy.auth.jws import Unverified
from proxy.public_keys import NotAKey, PublicKey, algorithms_of, read_jwk, read_pem

# Far above what issuers publish. A token without `kid` is tried with each.
MOST_KEYS = 64

_SIGNATURE_BYTES: Mapping[str, Sequence[int]] = {"ES256": (64,), "ES384": (96,), "ES512": (132,), "EdDSA": (64, 114)}
_RSA_BYTES = range(256, 2049)  # of the moduli of 2048 bits and more

_JWS = PyJWS()


@dataclass(frozen=True)
class Key:
    """`kid` None: the key has no name. `identity` is a digest that is another one for another key or algorithm."""

    kid: str | None
    algorithms: frozenset[str]
    identity: bytes = field(repr=False)
    material: Any = field(repr=False, compare=False)

    def verifies(self, token: Unverified) -> bool:
        if token.algorithm not in self.algorithms:
            return False
        algorithm = _JWS.get_algorithm_by_name(token.algorithm)
        return bool(algorithm.verify(token.signing_input, self.material, token.signature))


@dataclass(frozen=True)
class KeySet:
    """The keys of an issuer at one time."""

    keys: tuple[Key, ...]

    @cached_property
    def identities(self) -> frozenset[bytes]:
        return frozenset(key.identity for key in self.keys)

    def named(self, kid: str | None) -> tuple[Key, ...]:
        """The keys that may have signed: those of that name and those without one; all when none is named."""
        return tuple(key for key in self.keys if kid is None or key.kid is None or key.kid == kid)


def has_signature_of_its_kind(token: Unverified) -> bool:
    """Is the signature as long as one of its algorithm is? RFC 7518, 3.3 to 3.5; RFC 8032, 5.1.6 and 5.2.6."""
    size = len(token.signature)
    return size in _SIGNATURE_BYTES.get(token.algorithm, _RSA_BYTES)


def secret_key(secret: str, allowed: Sequence[str]) -> Key:
    """A secret that both sides know. `allowed` empty: HS256."""
    return _key(None, allowed or ("HS256",), secret.encode(), secret.encode())


def pem_key(pem: bytes, allowed: Sequence[str]) -> Key:
    """`allowed` empty: the usual algorithm of its kind. Raises NotAKey."""
    key = read_pem(pem)
    possible = algorithms_of(key)
    chosen = [name for name in possible if name in allowed] if allowed else possible[:1]
    if not chosen:
        raise NotAKey(f"is a key for {', '.join(possible)}, of which algorithms allows none")
    return _key(None, chosen, _der(key), key)


def jwks_keys(document: object, allowed: Sequence[str]) -> KeySet:
    """The usable keys of a JWK set (RFC 7517, 5); others are left out. Raises NotAKey when it is no set."""
    jwks = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(jwks, list):
        raise NotAKey("no JWK set")
    return KeySet(tuple(_usable(jwks, allowed))[:MOST_KEYS])


def _usable(jwks: Iterable[object], allowed: Sequence[str]) -> Iterable[Key]:
    for jwk in jwks:
        if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str | None):
            continue
        try:
            yield _jwk_key(jwk, allowed)
        except NotAKey:
            continue


def _jwk_key(jwk: Mapping[str, Any], allowed: Sequence[str]) -> Key:
    """A key's own "alg" narrows what it may verify; without one and without our list it is the usual one."""
    key = read_jwk(jwk)
    possible = algorithms_of(key)
    own = jwk.get("alg")
    chosen = [name for name in possible if (not allowed or name in allowed) and own in (None, name)]
    if not chosen:
        raise NotAKey("no algorithm is left")
    if not allowed:
        chosen = chosen[:1]
    return _key(jwk.get("kid"), chosen, _der(key), key)


def _key(kid: str | None, algorithms: Sequence[str], content: bytes, material: Any) -> Key:
    named = repr((kid, sorted(algorithms), content)).encode()
    return Key(kid, frozenset(algorithms), hashlib.blake2b(named, digest_size=16).digest(), material)


def _der(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

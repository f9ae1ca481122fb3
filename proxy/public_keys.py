"""Public keys of those who sign bearers: from PEM or JWK, and which signatures each may verify. No I/O.

The algorithm belongs to the key (RFC 8725, 3.1): what a token says about it is only ever compared with this.
"""

from collections.abc import Mapping

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

_LEAST_RSA_BITS = 2048  # RFC 7518, 3.3
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
_JWK_KINDS: Mapping[str, type[RSAAlgorithm | ECAlgorithm | OKPAlgorithm]] = {
    "RSA": RSAAlgorithm,
    "EC": ECAlgorithm,
    "OKP": OKPAlgorithm,
}


class NotAKey(ValueError):
    """Nothing in it verifies a signature; the text says why, without any of it."""


def read_pem(pem: bytes) -> PublicKey:
    """The key of a "PUBLIC KEY", "RSA PUBLIC KEY" or "CERTIFICATE". Raises NotAKey."""
    if b"PRIVATE KEY-----" in pem:
        raise NotAKey("holds a private key, which belongs to the issuer alone; give its public key")
    try:
        if b"-----BEGIN CERTIFICATE-----" in pem:
            return _fit(x509.load_pem_x509_certificate(pem).public_key())
        return _fit(load_pem_public_key(pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, NotAKey):
            raise
        raise NotAKey("no public key in PEM") from None


def read_jwk(jwk: Mapping[str, object]) -> PublicKey:
    """The key of a JWK (RFC 7517). Raises NotAKey, also where it is not for signatures."""
    kind = _JWK_KINDS.get(str(jwk.get("kty")))
    operations = jwk.get("key_ops", ["verify"])
    if kind is None or jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise NotAKey("not for public signatures")
    try:
        key = kind.from_jwk(dict(jwk))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        raise NotAKey("no JWK") from None
    return _fit(key.public_key() if hasattr(key, "public_key") else key)


def algorithms_of(key: PublicKey) -> tuple[str, ...]:
    """The signatures (RFC 7518, 3.1 and RFC 8037) that the key may verify, the usual one first."""
    match key:
        case rsa.RSAPublicKey():
            return _RSA
        case ec.EllipticCurvePublicKey():
            return _CURVES[key.curve.name]
        case _:
            return ("EdDSA",)


def _fit(key: object) -> PublicKey:
    match key:
        case rsa.RSAPublicKey() if key.key_size < _LEAST_RSA_BITS:
            raise NotAKey(f"an RSA key needs at least {_LEAST_RSA_BITS} bits")
        case ec.EllipticCurvePublicKey() if key.curve.name not in _CURVES:
            raise NotAKey("a curve other than P-256, P-384 and P-521")
        case rsa.RSAPublicKey() | ec.EllipticCurvePublicKey() | ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return key
        case _:
            raise NotAKey("neither RSA nor EC nor Ed25519 nor Ed448")

"""The provider token: a JWT by which a team proves itself to APNs.

APNs refuses one older than 60 minutes, and a team that makes new ones more often than every 20. ES256 signatures are
random, so equal claims give different tokens: the text itself must be shared between processes.
Source: Apple, "Establishing a token-based connection to APNs".
"""

from datetime import UTC, datetime, timedelta

import jwt

from proxy.errors import BadSettings

# in the middle of the 40 to 50 minutes that leave room on either side of both rules
_RENEWED_AFTER = timedelta(minutes=45)
# a signer whose clock is further ahead than this would be refused by Apple too
_CLOCK_SKEW = timedelta(minutes=5)


def sign_provider_token(key_pem: str | bytes, key_id: str, team_id: str, now: datetime) -> str:
    """A new token, issued at the second of `now`. `key_pem` is the .p8 file: PKCS#8 PEM of a P-256 key.

    Raises BadSettings when the key is none of that; the message shows nothing of it.
    """
    try:
        # typ is PyJWT's habit; Apple's header has only the other two
        headers = {"kid": key_id, "typ": None}
        return jwt.encode({"iss": team_id, "iat": int(now.timestamp())}, key_pem, algorithm="ES256", headers=headers)
    except (jwt.PyJWTError, ValueError, TypeError):  # TypeError: a key that wants a password
        raise BadSettings([f"apns key {key_id}: expected a P-256 private key in PEM, as Apple's .p8 file"]) from None


def fresh_enough(issued_at: datetime, now: datetime) -> bool:
    """Whether the token is still to be used: until it is 45 minutes old, and unless it comes from the future."""
    return -_CLOCK_SKEW <= now - issued_at < _RENEWED_AFTER


def read_issued_at(provider_token: str) -> datetime:
    """When a token of ours was signed; its signature is not checked. Raises ValueError for what is no such token."""
    try:
        issued_at = jwt.decode(provider_token, options={"verify_signature": False})["iat"]
        return datetime.fromtimestamp(int(issued_at), UTC)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError, OSError):
        raise ValueError("no provider token") from None

"""Bearers that must not work, and some odd ones that must: what an attacker, a bug or another system may send.

`settings` is the configuration they are meant for: one issuer with a secret and no `iss`; one each with an RSA, an EC
and an Ed25519 key, and a fixed `iss`; one with a secret, an `iss` and an `aud`. `CASES` are headers for one WSGI
request; `ELSEWHERE` are good tokens in places where none belongs; `RAW` are whole header blocks, for what only a real
server sees. Everything is made from `NOW` on when this is imported.
"""

import base64
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

NOW = int(time.time())
SECRET = "the corpus's own secret, good for nothing else: 0123456789"
AUD_SECRET = "another secret of the corpus, for the issuer with aud: 0123456789"
AUDIENCE, AUD_ISS, RSA_ISS = "mimc-broker", "https://aud.example", "https://rsa.example"
EC_ISS, ED_ISS = "https://ec.example", "https://ed.example"
TEN_YEARS = 10 * 366 * 86_400

_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_FOREIGN_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_EC, _ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-4, D.1.2.3
_ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032, 5.1
PUBLIC_PEM = _RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
_PUBLIC_DER = _RSA.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)


@dataclass(frozen=True)
class Case:
    """A value of the Authorization header and the status that it must get. `key`: whose key a server would take."""

    name: str
    authorization: str = field(repr=False)
    status: int = 401
    key: str = "secret"
    account: str | None = None

    @property
    def bearer(self) -> str:
        return self.authorization.removeprefix("Bearer ")


def settings(folder: Path) -> dict[str, object]:
    """[auth.jwt] for these cases; the public key is written into the folder."""
    for name, key in (("rsa", _RSA), ("ec", _EC), ("ed", _ED)):
        (folder / f"{name}.pem").write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    return {
        "plain": {"secret": SECRET, "leeway_s": 300},
        "rsa": {"public_key_file": str(folder / "rsa.pem"), "issuer": RSA_ISS},
        "ec": {"public_key_file": str(folder / "ec.pem"), "issuer": EC_ISS},
        "ed": {"public_key_file": str(folder / "ed.pem"), "issuer": ED_ISS},
        "aud": {"secret": AUD_SECRET, "issuer": AUD_ISS, "audience": AUDIENCE},
    }


# making tokens, by hand: a library would not make most of these


def b64(raw: bytes | str) -> str:
    return base64.urlsafe_b64encode(raw.encode() if isinstance(raw, str) else raw).decode().rstrip("=")


def hs(signing_input: str, secret: str | bytes = SECRET, digest: str = "sha256") -> str:
    key = secret.encode() if isinstance(secret, str) else secret
    return b64(hmac.new(key, signing_input.encode(), digest).digest())


def rs(signing_input: str, key: rsa.RSAPrivateKey = _RSA) -> str:
    return b64(key.sign(signing_input.encode(), padding.PKCS1v15(), hashes.SHA256()))


def claims(**changes: Any) -> dict[str, Any]:
    """Good ones, changed; a member that becomes `...` is left out."""
    return {k: v for k, v in ({"sub": "alice", "exp": NOW + 3600} | changes).items() if v is not ...}


def header(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in ({"alg": "HS256", "typ": "JWT"} | changes).items() if v is not ...}


def shown(secret: str) -> str:
    return f"{secret!r}" if len(secret) < 10 else f"a key of {len(secret)} bytes that is nearly ours, {secret[:3]!r}..."


def unsigned(head: object, payload: object) -> str:
    parts = (it if isinstance(it, str | bytes) else json.dumps(it) for it in (head, payload))
    return ".".join(b64(part) for part in parts)


def token(payload: object = None, head: object = None, secret: str | bytes = SECRET) -> str:
    """Rightly signed with the plain issuer's secret, whatever is in it."""
    signing_input = unsigned(header() if head is None else head, claims() if payload is None else payload)
    return f"{signing_input}.{hs(signing_input, secret)}"


def rsa_token(payload: dict[str, Any], head: dict[str, Any] | None = None, key: rsa.RSAPrivateKey = _RSA) -> str:
    signing_input = unsigned(head or header(alg="RS256"), payload)
    return f"{signing_input}.{rs(signing_input, key)}"


def bearer(name: str, text: str, status: int = 401, **more: Any) -> Case:
    return Case(name, f"Bearer {text}", status, **more)


# the cases


def algorithms() -> Iterator[Case]:
    spellings = ["".join(it) for it in product(*(("n", "N"), ("o", "O"), ("n", "N"), ("e", "E")))]
    odd = [" none", "none ", "n\u043ene", "nul", "", "HS", "hs256", "Hs256", "HS256 ", "HS257", "SHA256", "HS256\x00"]
    for alg in (*spellings, *odd):
        start = unsigned(header(alg=alg), claims())
        yield bearer(f"alg {alg!r} without a signature", f"{start}.")
        yield bearer(f"alg {alg!r} with a rightly made one", f"{start}.{hs(start)}")
    for other in (None, True, 0, ["HS256"], {"HS256": 1}, ["none", "HS256"]):
        yield bearer(f"alg {json.dumps(other)}", token(head=header(alg=other)))
    yield bearer("no alg", token(head=header(alg=...)))
    for alg, digest in (("HS384", "sha384"), ("HS512", "sha512")):
        start = unsigned(header(alg=alg), claims())
        yield bearer(f"{alg}, rightly signed, but not allowed", f"{start}.{hs(start, digest=digest)}")


def confusions() -> Iterator[Case]:
    """A public key is no secret: a signer that uses it as one could be anyone."""
    known = {
        "PEM": PUBLIC_PEM,
        "PEM without its last newline": PUBLIC_PEM.strip(),
        "PEM in one line": PUBLIC_PEM.replace(b"\n", b""),
        "DER": _PUBLIC_DER,
        "modulus": _RSA.public_key().public_numbers().n.to_bytes(256, "big"),
    }
    for name, key in known.items():
        for iss in (RSA_ISS, None):
            start = unsigned(header(), claims(iss=iss) if iss else claims())
            yield bearer(f"HS256 with the public key as {name}, iss {iss}", f"{start}.{hs(start, key)}", key="public")
    yield bearer("RS256 to the issuer with a secret", rsa_token(claims()))
    yield bearer("RS256 of another's key", rsa_token(claims(iss=RSA_ISS), key=_FOREIGN_RSA), key="public")
    yield bearer("PS256 said of an RS256 signature", rsa_token(claims(iss=RSA_ISS), header(alg="PS256")), key="public")
    yield bearer("ES256 said of an RSA key", rsa_token(claims(iss=RSA_ISS), header(alg="ES256")), key="public")
    yield bearer("EdDSA said of an RSA key", rsa_token(claims(iss=RSA_ISS), header(alg="EdDSA")), key="public")
    yield bearer("iss of one issuer, signature of another", token(claims(iss=RSA_ISS)))
    for secret in ("", "\x00", " ", "secret", "null", SECRET[:-1], SECRET + "\n", SECRET.upper()):
        yield bearer(f"signed with {shown(secret)}", token(secret=secret))


def headers_that_point_elsewhere() -> Iterator[Case]:
    kids = [
        "../../../../dev/null",
        "/dev/null",
        "file:///dev/null",
        "..\\..\\windows\\win.ini",
        "' OR '1'='1",
        "x' UNION SELECT 'secret' --",
        "1; DROP TABLE keys",
        "$(id)",
        "|id",
        "{{7*7}}",
        "\x00",
        "plain\x00",
        "a" * 4000,
    ]
    for kid in kids:
        yield bearer(f"kid {kid[:28]!r} with the empty key", token(head=header(kid=kid), secret=""))
    others: tuple[object, ...] = (0, True, [], {}, ["plain"])
    for other in others:
        yield bearer(f"kid {json.dumps(other)}, rightly signed", token(head=header(kid=other)))
    n = _FOREIGN_RSA.public_key().public_numbers()
    jwk = {"kty": "RSA", "e": b64(n.e.to_bytes(3, "big")), "n": b64(n.n.to_bytes(256, "big"))}
    foreign = {
        "jku": "http://127.0.0.1:1/jwks.json",
        "x5u": "http://127.0.0.1:1/cert.pem",
        "jwk": jwk,
        "x5c": [b64(_PUBLIC_DER)],
        "jku and x5t": "file:///etc/passwd",
    }
    for name, value in foreign.items():
        head = header(alg="RS256", **{name.split()[0]: value})
        yield bearer(f"{name} of a key of its own", rsa_token(claims(iss=RSA_ISS), head, _FOREIGN_RSA), key="public")
    yield bearer("jwk of kind oct", token(head=header(jwk={"kty": "oct", "k": b64("k" * 32)}), secret="k" * 32))
    for crit in (["exp"], ["b64"], ["http://example.com/x"], [], "exp", None, [""], ["alg"]):
        yield bearer(f"crit {json.dumps(crit)}, rightly signed", token(head=header(crit=crit)))
    for b64_member in (False, True, "false", 0):
        yield bearer(f"b64 {json.dumps(b64_member)}, rightly signed", token(head=header(b64=b64_member)))
    start = b64(json.dumps(header(b64=False, crit=["b64"])))
    detached = f"{start}.{json.dumps(claims())}"
    yield bearer("b64 false with a detached payload", f"{start}..{hs(detached)}")
    for kind in ("dpop+jwt", "logout+jwt", "LOGOUT+JWT", "secevent+jwt", "application/logout+jwt"):
        yield bearer(f"typ {kind}, rightly signed: for another purpose", token(head=header(typ=kind)))
    for kind_of_type in (7, None, ["JWT"]):
        yield bearer(f"typ {json.dumps(kind_of_type)}", token(head=header(typ=kind_of_type)))


def shapes() -> Iterator[Case]:
    good = token()
    head, payload, signature = good.split(".")
    for name, text in {
        "unsigned": f"{head}.{payload}.",
        "unsigned, two parts": f"{head}.{payload}",
        "header alone": head,
        "no payload": f"{head}..{signature}",
        "empty": "",
        "dots": "..",
        "four parts": f"{good}.{signature}",
        "five parts, a JWE": f"{head}.{b64('key')}.{b64('iv')}.{payload}.{signature}",
        "signature of another token": f"{head}.{payload}.{token(claims(sub='bob')).rpartition('.')[2]}",
        "payload of another token": f"{head}.{token(claims(sub='bob')).split('.')[1]}.{signature}",
        "cut by one": good[:-1],
        "cut by half": good[: len(good) // 2],
        "signature cut by half": good[:-20],
        "signature twice": f"{good}{signature}",
        "one bit off": f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "last bits off": good[:-1] + chr(ord(good[-1]) + 1),
        "padding in the header": f"{head}=.{payload}.{signature}",
        "padding at the end": f"{good}=",
        "two of padding at the end": f"{good}==",
        "four of padding": f"{good}====",
        "plain base64 for base64url": f"{head}.{payload}.{signature[:-2]}+/",
        "a tilde in the signature": f"{good}~",
        "percent-encoded dots": good.replace(".", "%2E"),
        "an SD-JWT": f"{good}~{b64('[]')}~",
        "a length that no bytes have": f"{head}A.{payload}.{signature}",
    }.items():
        yield bearer(name, text)
    for name, bad in {
        "header is no JSON": b"{",
        "header is a list": b"[]",
        "header is null": b"null",
        "header is empty": b"",
        "header in UTF-16": json.dumps(header()).encode("utf-16"),
        "header with a BOM": b"\xef\xbb\xbf" + json.dumps(header()).encode(),
        "header is not UTF-8": b'{"alg":"HS256","x":"\xff"}',
        "header with an overlong slash": b'{"alg":"HS256","x":"\xc0\xaf"}',
        "alg twice, none first": b'{"alg":"none","alg":"HS256"}',
        "alg twice, none last": b'{"alg":"HS256","alg":"none"}',
        "alg twice, the same": b'{"alg":"HS256","alg":"HS256"}',
        "kid twice": b'{"alg":"HS256","kid":"a","kid":"b"}',
        "alg twice, once escaped": b'{"alg":"HS256","\\u0061lg":"none"}',
        "NaN in the header": b'{"alg":"HS256","x":NaN}',
        "deep header": b'{"alg":"HS256","x":' + b"[" * 2500 + b"]" * 2500 + b"}",
        "text after the header": b'{"alg":"HS256"} x',
        "long number in the header": b'{"alg":"HS256","x":' + b"9" * 5000 + b"}",
    }.items():
        yield bearer(name, token(head=bad))
    exp = str(NOW + 3600).encode()
    for name, bad in {
        "payload is no JSON": b"alice",
        "payload is a list": b'["alice"]',
        "payload is a text": b'"alice"',
        "payload is null": b"null",
        "payload is empty": b"",
        "payload is not UTF-8": b'{"sub":"\xff","exp":' + exp + b"}",
        "payload with a raw surrogate": b'{"sub":"a\xed\xa0\x80","exp":' + exp + b"}",
        "payload in UTF-16": json.dumps(claims()).encode("utf-16"),
        "sub twice": b'{"sub":"alice","sub":"bob","exp":' + exp + b"}",
        "exp twice": b'{"sub":"alice","exp":1,"exp":' + exp + b"}",
        "sub twice, once escaped": b'{"sub":"alice","s\\u0075b":"bob","exp":' + exp + b"}",
        "a member twice, far inside": b'{"sub":"alice","exp":' + exp + b',"x":{"a":1,"a":2}}',
        "NaN inside": b'{"sub":"alice","x":NaN,"exp":' + exp + b"}",
        "deep payload": b'{"sub":"alice","x":' + b"[" * 2500 + b"]" * 2500 + b"}",
        "deep objects": b'{"sub":"alice","x":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
        "a comma too many": b'{"sub":"alice","exp":' + exp + b",}",
        "a comment": b'{"sub":"alice"/**/,"exp":' + exp + b"}",
        "a raw newline in a text": b'{"sub":"al\nice","exp":' + exp + b"}",
    }.items():
        yield bearer(name, token(payload=bad))
    yield bearer(
        "JSON serialisation, two signatures",
        b64(
            json.dumps(
                {
                    "payload": payload,
                    "signatures": [
                        {"protected": head, "signature": signature},
                        {"protected": b64('{"alg":"none"}'), "signature": ""},
                    ],
                }
            )
        ),
    )
    yield Case(
        "JSON serialisation as it is",
        "Bearer " + json.dumps({"payload": payload, "protected": head, "signature": signature}),
    )


def curves() -> Iterator[Case]:
    """Signatures that a careless library takes, for every message or in a second form."""

    def es256(alg: str = "ES256") -> tuple[str, int, int]:
        start = unsigned(header(alg=alg), claims(iss=EC_ISS))
        return start, *decode_dss_signature(_EC.sign(start.encode(), ec.ECDSA(hashes.SHA256())))

    def es(name: str, r: int, s: int, start: str, size: int = 32) -> Case:
        signature = b"".join((part % 2 ** (8 * size)).to_bytes(size, "big") for part in (r, s))
        return bearer(f"ES256, {name}", f"{start}.{b64(signature)}", key="ec")

    start, r, s = es256()
    order = _P256_ORDER
    for name, first, second in (
        ("r = s = 0, as the psychic signatures of Java 15", 0, 0),
        ("r = 0", 0, s),
        ("s = 0", r, 0),
        ("r = s = n", order, order),
        ("r = n", order, s),
        ("s = n", r, order),
        ("r = s = 1", 1, 1),
        ("all bits set", -1, -1),
        ("r and s turned round", s, r),
        ("r negated", order - r, s),
    ):
        yield es(name, first, second, start)
    yield es("r and s of 33 bytes each", r, s, start, 33)
    yield es("r and s of 48 bytes each, as of P-384", r, s, start, 48)
    der = _EC.sign(start.encode(), ec.ECDSA(hashes.SHA256()))
    good = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    for name, signature in {
        "in DER": der,
        "in DER with a byte behind": der + b"\0",
        "in DER of r = s = 0": bytes.fromhex("3006020100020100"),
        "empty": b"",
        "a byte": b"\0",
        "r alone": good[:32],
        "a byte too few": good[:-1],
        "a zero byte in front": b"\0" + good,
        "a zero byte behind": good + b"\0",
        "twice": good + good,
    }.items():
        yield bearer(f"ES256, signature {name}", f"{start}.{b64(signature)}", key="ec")
    yield bearer("ES256, padded", f"{start}.{b64(good)}==", key="ec")
    for alg in ("ES256K", "ES384", "ES512", "EdDSA"):
        start, r, s = es256(alg)
        yield es(f"called {alg}", r, s, start)

    start = unsigned(header(alg="EdDSA"), claims(iss=ED_ISS))
    right = _ED.sign(start.encode())
    point, scalar = right[:32], int.from_bytes(right[32:], "little")
    identity, zero = (1).to_bytes(32, "little"), bytes(32)
    small = {  # points whose order divides 8, in their two spellings where there are two
        "the identity": identity,
        "of order 2": bytes.fromhex("ec" + "ff" * 30 + "7f"),
        "of order 4": zero,
        "of order 4, negative": bytes(31) + b"\x80",
        "of order 8": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        "of order 8, negative": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        "the identity, not reduced": bytes.fromhex("ee" + "ff" * 30 + "7f"),
    }
    forged = {f"R {name}, S 0": at + zero for name, at in small.items()}
    forged |= {
        f"S + {times} L": point + (scalar + times * _ED25519_ORDER).to_bytes(32, "little") for times in (1, 2, 8)
    }
    forged |= {
        "S = L": point + _ED25519_ORDER.to_bytes(32, "little"),
        "S with its top bit set": point + (scalar | 1 << 255).to_bytes(32, "little"),
        "all zero": bytes(64),
        "all ones": b"\xff" * 64,
        "halves turned round": right[32:] + right[:32],
        "a byte too few": right[:-1],
        "a byte too many": right + b"\0",
        "as long as of Ed448": right + bytes(50),
        "empty": b"",
    }
    for name, signature in forged.items():
        yield bearer(f"EdDSA, {name}", f"{start}.{b64(signature)}", key="ed")
    for alg in ("Ed25519", "Ed448", "eddsa", "ES256"):
        other = unsigned(header(alg=alg), claims(iss=ED_ISS))
        yield bearer(f"EdDSA called {alg}", f"{other}.{b64(_ED.sign(other.encode()))}", key="ed")


def nested(levels: int) -> str:
    """A JSON value so deep."""
    return "[" * levels + "]" * levels


def numbers_and_depths() -> Iterator[Case]:
    """What JSON does not allow and some parsers take, and the first level that is one too many."""
    exp = str(NOW + 3600)
    for name, written in {
        "a plus": f"+{exp}",
        "a zero in front": f"0{exp}",
        "a point at the end": f"{exp}.",
        "no digit before the point": f".{exp}e10",
        "hexadecimal": hex(NOW + 3600),
        "octal": oct(NOW + 3600),
        "underscores": f"{exp[:1]}_{exp[1:]}",
        "commas": f"{exp[:1]},{exp[1:]}",
        "full-width digits": "".join(chr(ord(digit) + 0xFEE0) for digit in exp),
        "Arabic digits": "".join(chr(ord(digit) + 0x630) for digit in exp),
        "an exponent without digits": f"{exp}e",
        "an exponent with a space": f"{exp} e0",
        "a minus alone": "-",
        "two minus": f"--{exp}",
        "a suffix": f"{exp}L",
        "a letter f": f"{exp}f",
        "an n": f"{exp}n",
        "Infinity": "Infinity",
        "inf": "inf",
        "NaN": "NaN",
        "nothing": "",
        "single quotes": f"'{exp}'",
        "a sum": f"{exp}+1",
    }.items():
        yield bearer(f"exp written with {name}", token(f'{{"sub":"alice","exp":{written}}}'))
    yield bearer("payload a level too deep", token(f'{{"sub":"alice","exp":{exp},"x":{nested(64)}}}'))
    yield bearer("header a level too deep", token(head=f'{{"alg":"HS256","x":{nested(64)}}}'))


def times() -> Iterator[Case]:
    bad: dict[str, Any] = {
        "missing": ...,
        "null": None,
        "true": True,
        "a text": "soon",
        "a text of digits": str(NOW + 3600),
        "a list": [NOW + 3600],
        "an object": {"$date": NOW + 3600},
        "a date": "2099-01-01T00:00:00Z",
        "0": 0,
        "negative": -1,
        "past": NOW - 3600,
        "just past the leeway": NOW - 301,
        "long past": NOW - TEN_YEARS,
        "in milliseconds": (NOW + 3600) * 1000,
        "over ten years away": NOW + TEN_YEARS + 3600,
        "1e300": 1e300,
        "-1e300": -1e300,
        "2 ** 63": 2**63,
        "10 ** 400": 10**400,
        "NaN": float("nan"),
        "infinite": float("inf"),
        "minus infinite": float("-inf"),
        "a past fraction": NOW - 301.5,
    }
    for name, value in bad.items():
        yield bearer(f"exp {name}", token(claims(exp=value)))
    yield bearer("exp 1e400", token(f'{{"sub":"alice","exp":1e400,"iat":{NOW}}}'))
    for claim in ("nbf", "iat"):
        for name, value in {
            "to come": NOW + 3600,
            "1e300": 1e300,
            "a text": "now",
            "a text of digits": str(NOW - 1),
            "true": True,
            "an object": {},
            "NaN": float("nan"),
            "infinite": float("inf"),
        }.items():
            yield bearer(f"{claim} {name}", token(claims(**{claim: value})))


def issuers_and_audiences() -> Iterator[Case]:
    def aud(**changes: Any) -> str:
        return token(claims(**({"iss": AUD_ISS, "aud": AUDIENCE} | changes)), secret=AUD_SECRET)

    wrong: dict[str, Any] = {
        "missing": ...,
        "null": None,
        "another": "other",
        "a prefix": AUDIENCE[:-1],
        "in capitals": AUDIENCE.upper(),
        "empty": "",
        "an empty list": [],
        "a list of others": ["a", "b"],
        "a number": 1,
        "an object": {AUDIENCE: 1},
        "true": True,
        "a list with a number": [AUDIENCE, 1],
        "with a space": AUDIENCE + " ",
    }
    for name, value in wrong.items():
        yield bearer(f"aud {name}", aud(aud=value), key="aud")
    for name, value in {
        "null": None,
        "another": "https://evil.example",
        "a list": [AUD_ISS],
        "with a slash": AUD_ISS + "/",
        "in capitals": AUD_ISS.upper(),
        "missing": ...,
        "a number": 1,
        "an object": {"a": 1},
    }.items():
        yield bearer(f"iss {name}", aud(iss=value), key="aud")
    for value in ("mimc-broker", ["mimc-broker"], [], 1, ""):
        yield bearer(f"aud {json.dumps(value)} where none is expected", token(claims(aud=value)))
    yield bearer("the plain secret under the other's iss", token(claims(iss=AUD_ISS, aud=AUDIENCE)), key="aud")


def accounts() -> Iterator[Case]:
    bad: dict[str, Any] = {
        "missing": ...,
        "null": None,
        "empty": "",
        "10 KB": "a" * 10_240,
        "257 bytes": "a" * 257,
        "86 Chinese characters": "\u540d" * 86,
        "a newline": "al\nice",
        "a carriage return": "alice\r",
        "a NUL": "alice\x00",
        "an escape": "\x1b[2J",
        "DEL": "a\x7f",
        "NEL": "a\u0085b",
        "high surrogate": "\ud800",
        "low surrogate": "a\udfffb",
        "surrogates turned round": "\udc00\ud800",
        "RLO": "a\u202eb",
        "LRE": "\u202aa",
        "PDF": "a\u202c",
        "LRI": "\u2066a",
        "PDI": "a\u2069",
        "LRM": "a\u200e",
        "RLM": "\u200fa",
        "ALM": "\u061ca",
        "a number": 1000,
        "a fraction": 1.5,
        "true": True,
        "a list": ["alice"],
        "an object": {"id": "alice"},
        "decomposed, too long": "e\u0301" * 129,
    }
    for name, value in bad.items():
        yield bearer(f"sub {name}", token(claims(sub=value)))


def header_values() -> Iterator[Case]:
    good = token()
    for name, value in {
        "empty": "",
        "the scheme alone": "Bearer",
        "the scheme and a space": "Bearer ",
        "no scheme": good,
        "Basic": f"Basic {good}",
        "Token": f"Token {good}",
        "JWT": f"JWT {good}",
        "DPoP": f"DPoP {good}",
        "a colon": f"Bearer: {good}",
        "a tab": f"Bearer\t{good}",
        "no space": f"Bearer{good}",
        "two comma-joined": f"Bearer {good}, Bearer {good}",
        "two tokens": f"Bearer {good} {good}",
        "a comma at the end": f"Bearer {good},",
        "token=": f'Bearer token="{good}"',
        "quoted": f'Bearer "{good}"',
        "in brackets": f"Bearer <{good}>",
        "Bearer twice": f"Bearer Bearer {good}",
        "a space inside": f"Bearer {good[:20]} {good[20:]}",
        "a tab inside": f"Bearer {good[:20]}\t{good[20:]}",
        "a no-break space": f"Bearer\u00a0{good}",
        "a letter of Latin-1 in it": f"Bearer {good}\u00e9",
        "a long s": f"Bearer {good}\u00df",
        "a null in words": "Bearer null",
        "undefined": "Bearer undefined",
        "an opaque one": "Bearer 0123456789abcdef",
        "None": "Bearer None",
    }.items():
        yield Case(f"header: {name}", value)


def good_ones() -> Iterator[Case]:
    """Odd, and yet in order: refusing these would lock real users out."""
    rightly = {
        "as plain as can be": claims(),
        "exp within the leeway": claims(exp=NOW - 5),
        "exp with a fraction": claims(exp=NOW + 3600.5),
        "exp in nine years": claims(exp=NOW + 9 * 365 * 86_400),
        "nbf and iat now": claims(nbf=NOW, iat=NOW),
        "an unknown iss": claims(iss="anybody"),
        "other claims": claims(x={"deep": [1, {"a": None}]}, aud=None),
    }
    for name, payload in rightly.items():
        yield bearer(name, token(payload), 200, account="alice")
    for name, sub, account in (
        ("Chinese", "\u5f20\u4e09", "\u5f20\u4e09"),
        ("composed", "e\u0301", "\u00e9"),
        ("256 bytes", "a" * 256, "a" * 256),
        ("85 Chinese characters", "\u540d" * 85, "\u540d" * 85),
        ("a comma", "a,b", "a,b"),
        ("an emoji, escaped in JSON", "\U0001f600", "\U0001f600"),
        ("spaces", " a b ", " a b "),
        ("an address", "a@b.example", "a@b.example"),
        ("quotes", "a\"b'c", "a\"b'c"),
        ("HTML", "<b>", "<b>"),
    ):
        yield bearer(f"sub {name}", token(claims(sub=sub)), 200, account=account)
    for name, head in {
        "an unknown kid": header(kid="whatever"),
        "jku, rightly signed": header(jku="http://127.0.0.1:1/"),
        "x5t": header(x5t="AAAA"),
        "no typ": header(typ=...),
        "typ at+jwt": header(typ="at+jwt"),
        "typ in small letters": header(typ="jwt"),
    }.items():
        yield bearer(name, token(head=head), 200, account="alice")
    yield bearer(
        "RS256 of the issuer with the RSA key", rsa_token(claims(iss=RSA_ISS)), 200, key="public", account="alice"
    )
    exp = NOW + 3600
    for name, text in {
        "payload as deep as it may be": token(f'{{"sub":"alice","exp":{exp},"x":{nested(63)}}}'),
        "header as deep as it may be": token(head=f'{{"alg":"HS256","x":{nested(63)}}}'),
        "exp with an exponent": token(f'{{"sub":"alice","exp":{exp}e0}}'),
        "exp with a plus in its exponent": token(f'{{"sub":"alice","exp":{exp / 10}E+1}}'),
    }.items():
        yield bearer(name, text, 200, account="alice")
    start = unsigned(header(alg="ES256"), claims(iss=EC_ISS))
    r, s = decode_dss_signature(_EC.sign(start.encode(), ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    yield bearer("ES256", f"{start}.{b64(signature)}", 200, key="ec", account="alice")
    start = unsigned(header(alg="EdDSA"), claims(iss=ED_ISS))
    yield bearer("EdDSA", f"{start}.{b64(_ED.sign(start.encode()))}", 200, key="ed", account="alice")
    for value in (AUDIENCE, ["other", AUDIENCE]):
        text = token(claims(iss=AUD_ISS, aud=value), secret=AUD_SECRET)
        yield bearer(f"aud {json.dumps(value)}", text, 200, key="aud", account="alice")
    for name, start in {
        "bearer": "bearer ",
        "BEARER": "BEARER ",
        "three spaces": "Bearer   ",
        "spaces around": "  Bearer ",
    }.items():
        yield Case(f"header: {name}", start + token(), 200, account="alice")


CASES: tuple[Case, ...] = (
    *algorithms(),
    *confusions(),
    *headers_that_point_elsewhere(),
    *shapes(),
    *curves(),
    *numbers_and_depths(),
    *times(),
    *issuers_and_audiences(),
    *accounts(),
    *header_values(),
    *good_ones(),
)


# good tokens where none belongs (RFC 6750, 2.2 and 2.3: forms and queries end in logs): parts of a request


def _elsewhere() -> dict[str, dict[str, Any]]:
    good = token()
    found: dict[str, dict[str, Any]] = {}
    for name in ("access_token", "token", "jwt", "bearer", "authorization", "Authorization", "id_token", "auth"):
        found[f"query {name}"] = {"query_string": {name: good}}
        found[f"query {name} with the scheme"] = {"query_string": {name: f"Bearer {good}"}}
        found[f"cookie {name}"] = {"headers": {"Cookie": f"{name}={good}"}}
        found[f"form {name}"] = {"data": {name: good}}
        found[f"JSON {name}"] = {"json": {name: good}}
    for name in ("Proxy-Authorization", "X-Authorization", "X-Access-Token", "X-Forwarded-Authorization", "Bearer"):
        found[f"header {name}"] = {"headers": {name: f"Bearer {good}"}}
    found["Sec-WebSocket-Protocol"] = {"headers": {"Sec-WebSocket-Protocol": f"bearer, {good}"}}
    return found


ELSEWHERE = _elsewhere()


# what only a real server sees

_GOOD = f"Authorization: Bearer {token()}".encode()
_BAD = f"Authorization: Bearer {token(secret='x')}".encode()

RAW: dict[str, tuple[bytes, int]] = {
    "a good one": (_GOOD + b"\r\n", 200),
    "no Authorization": (b"", 401),
    "two headers, both good": (_GOOD + b"\r\n" + _GOOD + b"\r\n", 401),
    "two headers, good and bad": (_GOOD + b"\r\n" + _BAD + b"\r\n", 401),
    "a header of 9 KB": (b"Authorization: Bearer " + b"a" * 9000 + b"\r\n", 431),
    "a header of 100 KB": (b"Authorization: Bearer " + b"a" * 100_000 + b"\r\n", 431),
    "200 headers": (b"".join(b"X-%d: y\r\n" % i for i in range(200)), 431),
    "a newline in the value": (_GOOD[:60] + b"\n" + _GOOD[60:] + b"\r\n", 400),
    "a folded value": (_GOOD[:60] + b"\r\n " + _GOOD[60:] + b"\r\n", 400),
    "a carriage return in the value": (_GOOD[:60] + b"\r" + _GOOD[60:] + b"\r\n", 400),
    "a NUL in the value": (_GOOD + b"\x00\r\n", 400),
    "a space before the colon": (_GOOD.replace(b":", b" :", 1) + b"\r\n", 400),
    "spaces in front of the name": (b" " + _GOOD + b"\r\n", 400),
    "bytes that are no UTF-8": (b"Authorization: Bearer \xff\xfe\xc3\x28\r\n", 401),
    "raw UTF-8": ("Authorization: Bearer \u5f20\u4e09.\u5f20.\u5f20\r\n".encode(), 401),
    "an underscore for the dash": (b"X_Authorization: " + _GOOD[15:] + b"\r\n", 401),
}

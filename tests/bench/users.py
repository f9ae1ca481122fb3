"""A token call by each way of proving a user, side by side, and what of it is the proof of a JWT.

python -m tests.bench users
"""

import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.auth import Authenticated, Backend, Credentials
from proxy.auth.accounts import SessionTokens
from proxy.auth.jwt_bearer import JwtBearer
from proxy.local.ports import free_port
from proxy.settings import AccountsSettings, JwtSettings
from tests.auth.endpoint import always, endpoint
from tests.bench.figures import Row, Spread, number
from tests.bench.processes import MeasuredRig, cores, pin
from tests.bench.size import Size
from tests.bench.tokens import bodies
from tests.bench.web import Shot, Target, shoot
from tests.listening import listens
from tests.system.rig import ROOT

_SECRET = secrets.token_urlsafe(48)
_KEYS: Mapping[str, PrivateKeyTypes] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


@dataclass(frozen=True)
class Way:
    """A name for the table, the settings that switch it on, and the header of a user that it knows."""

    name: str
    auth: str
    bearer: str


def measure(rig: MeasuredRig, size: Size) -> list[Row]:
    """The first way is the measure of the others."""
    with _ways(rig) as ways:
        targets = [_start(rig, size, way) for way in ways]
        for target in targets:
            shoot(target, max(size.requests // 4, size.connections), size.connections)
        rounds = [[shoot(target, size.requests, size.connections) for target in targets] for _ in range(size.rounds)]
        for target in targets:
            target.server.stop()
    rows = [_beside_the_first(way, [(shots[0], shots[place]) for shots in rounds]) for place, way in enumerate(ways)]
    request_us = Spread.of([shots[0].cpu_us for shots in rounds]).middle
    return [*rows, *_shares(rig, size, request_us)]


@contextmanager
def _ways(rig: MeasuredRig) -> Iterator[list[Way]]:
    accounts = SessionTokens(AccountsSettings.model_validate({"key": _SECRET}))
    session = accounts.access("alice", accounts.new_session_id(), datetime.now(UTC))
    with endpoint(always(body=b'{"account":"alice"}')) as site:
        yield [
            Way("jwt, HS256", f'[auth.jwt.own]\nsecret = "{_SECRET}"\n', _signed("HS256")),
            *(
                Way(f"jwt, {name}", f'[auth.jwt.own]\npublic_key_file = "{_pem(rig, name)}"\n', _signed(name))
                for name in ("RS256", "ES256")
            ),
            Way("introspection", f'[auth.introspection]\nurl = "{site.url}"\ncache_s = 300\n', "an-opaque-session"),
            Way("accounts", f'[auth.accounts]\nkey = "{_SECRET}"\n', session),
        ]


def _start(rig: MeasuredRig, size: Size, way: Way) -> Target:
    """The service's gunicorn with this way alone, on a port of its own."""
    config = rig.folder / f"{re.sub('[^a-zA-Z0-9]', '', way.name)}.toml"
    text, replaced = re.subn(r"\[auth\.[^\[]*", lambda _: way.auth, (rig.folder / "proxy.toml").read_text())
    if replaced != 1:
        raise AssertionError("the rig has another way of proving a user than was expected")
    config.write_text(text)
    port = free_port()
    variables = {
        "APP_PROXY_CONFIG": str(config),
        "APP_PROXY_SERVER__BIND": f"127.0.0.1:{port}",
        "APP_PROXY_SERVER__OPERATOR_BIND": f"127.0.0.1:{free_port()}",
        "APP_PROXY_SERVER__THREADS": str(size.threads),
        "WEB_CONCURRENCY": str(size.workers),
        # one caller makes all the calls of a round: each is counted, and none is too many
        **{f"APP_PROXY_LIMITS__TOKEN_PER_{by}": "1000000/second" for by in ("ACCOUNT", "ADDRESS")},
    }
    argv = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "config/gunicorn.conf.py"), "wsgi:app"]
    server = rig.start("users", argv, **variables)
    rig.wait(lambda: listens("127.0.0.1", port), "the web")
    pin(server, cores()[0])
    headers = {"Authorization": f"Bearer {rig.secret('bearer', way.bearer)}"}
    return Target(server, port, "/api/account/token", bodies, headers)


def _beside_the_first(way: Way, rounds: list[tuple[Shot, Shot]]) -> Row:
    first, own = (Spread.of([shots[place].cpu_us for shots in rounds]).middle for place in (0, 1))
    ratios = [mine.cpu_us / base.cpu_us for base, mine in rounds]
    return Row(f"users, {way.name}: CPU / jwt, HS256", Spread.of(ratios), f"{number(own)} us to {number(first)} us")


def _shares(rig: MeasuredRig, size: Size, request_us: float) -> Iterator[Row]:
    """What of a token call's CPU is the proof: the backend alone, in this process, asked for one token over and over.

    Without the memory the call takes as much longer as the proof does.
    """
    for name in ("HS256", *_KEYS):
        key = {"secret": _SECRET} if name == "HS256" else {"public_key_file": str(_pem(rig, name))}
        settings = {"own": JwtSettings.model_validate(key)}
        shown = Credentials(f"Bearer {_signed(name)}", {})
        known = [_cost_us(JwtBearer(settings), shown, size.requests) for _ in range(size.rounds)]
        anew = [_cost_us(JwtBearer(settings, remember=0), shown, size.requests // 4) for _ in range(size.rounds)]
        base = request_us - Spread.of(known).middle
        for how, costs in (("remembered", known), ("verified anew", anew)):
            shares = [100 * cost / (base + cost) for cost in costs]
            cost = number(Spread.of(costs).middle)
            yield Row(f"users, {name} {how}: % of the call", Spread.of(shares), f"{cost} us of CPU")


def _cost_us(backend: Backend, shown: Credentials, times: int) -> float:
    if not isinstance(backend.authenticate(shown), Authenticated):
        raise AssertionError("the measured token is refused")
    started = time.process_time()
    for _ in range(times):
        backend.authenticate(shown)
    return (time.process_time() - started) / times * 1e6


def _signed(name: str) -> str:
    claims = {"sub": "alice", "exp": int(time.time()) + 3600}
    return jwt.encode(claims, _SECRET if name == "HS256" else _KEYS[name], name)  # type: ignore[arg-type]


def _pem(rig: MeasuredRig, name: str) -> str:
    path = rig.folder / f"{name}.pem"
    path.write_bytes(_KEYS[name].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(path)

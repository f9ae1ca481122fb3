"""Can the time of a refused sign-in tell which users there are? A wrong password for known and unknown users, in turns.

python -m tests.bench sign_in
"""

import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import requests

from proxy.auth.accounts_db import open_accounts
from proxy.auth.passwords import Argon2Passwords
from tests.bench.figures import Row, Spread, number
from tests.bench.processes import MeasuredRig
from tests.bench.size import Size

_USERS = 20
_TRIES_A_ROUND = 30  # requests of the other parts to one here: each of these costs 19 MiB and tens of milliseconds


def measure(rig: MeasuredRig, size: Size) -> list[Row]:
    """The ratio of the median times; and how often the unknown user of a pair took longer: 0.50 tells nothing."""
    database = rig.folder / "bench-accounts.sqlite3"
    known = _add_users(rig, database)
    service = rig.start_web(
        1,
        APP_PROXY_AUTH__ORDER="accounts",
        APP_PROXY_AUTH__ACCOUNTS__KEY=rig.secret("auth.accounts.key", secrets.token_urlsafe(36)),
        APP_PROXY_AUTH__ACCOUNTS__DATABASE=str(database),
        APP_PROXY_LIMITS__SIGN_IN_PER_ACCOUNT="off",
        APP_PROXY_LIMITS__SIGN_IN_PER_ADDRESS="off",
    )
    for name in known:  # caches, connections
        _refused_ms(rig, name)
    rounds = [_pairs(rig, known, max(1, size.requests // _TRIES_A_ROUND)) for _ in range(size.rounds)]
    service.stop()
    of_known, of_unknown = ([median(pair[place] for pair in pairs) for pairs in rounds] for place in (0, 1))
    ratios = [unknown / known for known, unknown in zip(of_known, of_unknown, strict=True)]
    slower = [sum(unknown > known for known, unknown in pairs) / len(pairs) for pairs in rounds]
    beside = f"{number(median(of_unknown))} ms to {number(median(of_known))} ms"
    return [
        Row("sign-in refused: unknown user's time / known one's", Spread.of(ratios), beside),
        Row("sign-in refused: pairs in which the unknown one's took longer", Spread.of(slower), "0.50 tells nothing"),
    ]


def _add_users(rig: MeasuredRig, database: Path) -> list[str]:
    accounts, passwords = open_accounts(database), Argon2Passwords()
    password_hash = passwords.hash(rig.secret("password", secrets.token_urlsafe(12)))
    names = [f"user-{number:02}" for number in range(_USERS)]
    for name in names:
        accounts.add(name, password_hash, datetime.now(UTC))
    accounts.close()
    return names


def _pairs(rig: MeasuredRig, known: list[str], count: int) -> list[tuple[float, float]]:
    """(known user's, unknown user's) milliseconds; who goes first alternates."""
    pairs = []
    for place in range(count):
        names = known[place % len(known)], f"unknown{place % len(known):02}"
        first, second = names if place % 2 == 0 else names[::-1]
        took = {first: _refused_ms(rig, first), second: _refused_ms(rig, second)}
        pairs.append((took[names[0]], took[names[1]]))
    return pairs


def _refused_ms(rig: MeasuredRig, account: str) -> float:
    started = time.perf_counter()
    answer: requests.Response = rig.http.post(
        f"{rig.web}/auth/login", json={"account": account, "password": "wrong horse"}, timeout=30
    )
    took = time.perf_counter() - started
    assert answer.status_code == 401, answer.text
    return took * 1000

"""What MIMC's TokenService answers, as all web processes know of it, for their /readyz.

The fields of the hash are a section and, in a second line, a word: "given" and "failed" hold when, in ms, "failed" also
why; "echo" is followed by where our key or secret was, and holds when.
"""

from datetime import datetime, timedelta
from typing import Any

from proxy.domain.monitoring import TokenFacts
from proxy.domain.times import from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import Commands

_KNOWN_FOR = timedelta(seconds=keys.TOKENS_TTL_S)
_NO_ACCIDENT = timedelta(minutes=1)  # without a token from any process


def token_commands(redis: Any, facts: TokenFacts) -> Any:
    """A pipeline, not executed yet, that keeps the facts."""
    fields = {f"{app}\ngiven": str(to_ms(at)) for app, at in facts.given.items()}
    fields |= {f"{app}\nfailed": f"{to_ms(at)} {reason}" for app, (at, reason) in facts.failed.items()}
    fields |= {f"{app}\necho {where}": str(to_ms(at)) for (app, where), at in facts.echoes.items()}
    pipe = redis.pipeline(transaction=False)
    pipe.hset(keys.tokens(), mapping=fields)
    pipe.expire(keys.tokens(), keys.TOKENS_TTL_S)
    return pipe


def token_details(redis: Commands, now: datetime) -> dict[str, str]:
    """A sentence for each section that was given no token lately, and for each place of an echo."""
    known: dict[str, dict[str, str]] = {}
    for name, value in sorted(redis.hgetall(keys.tokens()).items()):
        app, _, what = name.decode().partition("\n")
        at = from_ms(int(value.split()[0]))
        if at > now - _KNOWN_FOR:
            known.setdefault(app, {})[what] = value.decode()
    sentences: dict[str, str] = {}
    for app, facts in known.items():
        if failing := _failing(facts):
            sentences[f"tokens of {app}"] = failing
        for what, value in facts.items():
            if what.startswith("echo "):
                sentences[f"echo of {app}"] = (
                    f"our appKey or appSecret is in the TokenService's answers ({what[5:]}), "
                    f"seen at {from_ms(int(value)):%Y-%m-%d %H:%M:%S} UTC"
                )
    return sentences


def _failing(facts: dict[str, str]) -> str | None:
    if "failed" not in facts:
        return None
    ms, _, reason = facts["failed"].partition(" ")
    failed_at = from_ms(int(ms))
    given_at = from_ms(int(facts["given"])) if "given" in facts else None
    if given_at and failed_at - given_at < _NO_ACCIDENT:
        return None
    since = f"since {given_at:%Y-%m-%d %H:%M:%S} UTC" if given_at else "within an hour"
    return f"none was given {since}; at {failed_at:%Y-%m-%d %H:%M:%S} UTC the TokenService: {reason}"

"""One round: honest callers at an even pace, without an attack or under one."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.attacks.kinds import Attack, addresses
from tests.attacks.product import READERS, Product
from tests.attacks.verdict import Calls, Round
from tests.system.rig import MAIN, ROOT, URL_SECRET, offline

CALLBACKS_PER_S, TOKENS_PER_S = 20, 5
DEADLINE_S = 10.0  # a caller who waited longer has given up
_ADDRESSES = 8  # of honest callers
_IN_PLACE_S = 1.0  # until an attack has begun
_ENDS_S = 60.0
_PER_S = CALLBACKS_PER_S + TOKENS_PER_S


class Rounds:
    """Each has messages and attacking addresses of its own. Honest callers run on `own`, the attacker on `others`."""

    def __init__(self, product: Product, own: Collection[int], others: Collection[int]) -> None:
        self._product = product
        self._own, self._others = own, others
        self._messages, self._blocks = itertools.count(1), itertools.count()

    def calm(self, seconds: float) -> Round:
        calls = self._calls(seconds)
        return self._round(calls, self._answers(calls, seconds), {})

    def under(self, attack: Attack, sockets: int, many: bool, seconds: float) -> Round:
        """The attack goes on until the last honest caller has an answer, or has given up."""
        calls = self._calls(seconds)
        order = attack.order(self._product.web_port, sockets, addresses(next(self._blocks), many))
        with _child("attacker", self._others) as attacker:
            assert attacker.stdin
            attacker.stdin.write(f"{json.dumps(order)}\n")
            attacker.stdin.flush()
            time.sleep(_IN_PLACE_S)
            answers = self._answers(calls, seconds)
            printed, _ = attacker.communicate(timeout=_ENDS_S)
        return self._round(calls, answers, json.loads(printed))

    def _answers(self, calls: Sequence[Mapping[str, Any]], seconds: float) -> list[dict[str, Any]]:
        order = {"port": self._product.web_port, "deadline_s": DEADLINE_S, "calls": calls}
        with _child("honest", self._own) as honest:
            printed, _ = honest.communicate(json.dumps(order), timeout=seconds + _ENDS_S)
        answers: list[dict[str, Any]] = json.loads(printed)
        return answers

    def _round(
        self, calls: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]], attacker: Mapping[str, Any]
    ) -> Round:
        both = zip(calls, answers, strict=True)
        accepted = {call["mark"] for call, answer in both if "mark" in call and answer["status"] == "200"}
        not_pushed = len(accepted - self._product.pushed())
        return Round(Calls.of(answers, "callback"), Calls.of(answers, "token"), not_pushed, attacker)

    def _calls(self, seconds: float) -> list[dict[str, Any]]:
        """In the order in which they are due; every second one goes over a connection that is kept."""
        bearers = [self._product.bearer(f"reader-{number}") for number in range(READERS)]
        calls = []
        for number in range(int(seconds * _PER_S)):
            is_token = number % (_PER_S // TOKENS_PER_S) == 0
            own = _token(bearers[number % READERS]) if is_token else _callback(number, next(self._messages))
            source = {"address": f"127.1.{number % _ADDRESSES}.1", "keep": number % 2 == 0}
            calls.append({"at_s": number / _PER_S, **source, **own})
        return calls


def _callback(number: int, mark: int) -> dict[str, Any]:
    body = offline("li", f"reader-{number % READERS}", f"See you at seven ~{mark}~", mark, resources=["phone"])
    headers, path = {"Content-Type": "application/json"}, f"/callbacks/mimc/{URL_SECRET[MAIN]}"
    return {"what": "callback", "mark": mark, "path": path, "headers": headers, "body": json.dumps(body)}


def _token(bearer: str) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer}"}
    return {"what": "token", "path": "/api/account/token", "headers": headers, "body": json.dumps({"appId": MAIN})}


@contextmanager
def _child(name: str, cores: Collection[int]) -> Iterator["subprocess.Popen[str]"]:
    """A process of this package, which ends with the block."""
    argv = [sys.executable, "-m", f"tests.attacks.{name}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        try:
            os.sched_setaffinity(child.pid, cores)
            yield child
        finally:
            child.kill()

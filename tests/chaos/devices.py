"""The phones' part: apps that register, change hands, are signed out of, and whose tokens die."""

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import requests

from tests.chaos.dice import Trouble
from tests.chaos.people import ENVIRONMENTS, People, Phone, apple_phone
from tests.chaos.pushes import APNS, SANDBOX
from tests.chaos.runlog import RunLog, now_ms
from tests.system.rig import Rig

_THREADS = 8
_TRIES, _AGAIN_AFTER_S = 8, 0.5


class Devices:
    """All phones. For one thread at a time, except in `register_all`."""

    def __init__(self, seed: int, people: Sequence[People], rig: Rig, log: RunLog) -> None:
        self._rig, self._log = rig, log
        self._accounts = {those.app_id: those.accounts for those in people}
        self._dice = random.Random(f"second hands {seed}")
        self._known = [phone for those in people for phone in those.phones]
        self._in_use: list[Phone] = []
        self._signed_out: list[Phone] = []
        self._dead: list[Phone] = []
        self._moves = 0

    def register_all(self) -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            answers = list(pool.map(self._register, self._known))
        assert all(answers), "some phone could not be registered, with nothing wrong yet"
        self._in_use = [phone for phone in self._known if phone.device]

    def register_again(self) -> None:
        """What apps do when they are opened next, and what brings back those that an emptied store forgot."""
        with ThreadPoolExecutor(_THREADS) as pool:
            answers = list(pool.map(self._register, self._in_use))
        self._in_use = [phone for phone, is_known in zip(self._in_use, answers, strict=True) if is_known]

    def strike(self, trouble: Trouble) -> None:
        match trouble.kind:
            case "move":
                self._move(trouble.lot)
            case "other_environment":
                self._change_environment(trouble.lot)
            case "sign_out":
                self._sign_out(trouble.lot)
            case "provider_410":
                self._kill_token(trouble.lot)
            case other:
                raise ValueError(other)

    def _move(self, lot: float) -> None:
        """A phone changes hands: the new owner signs in, and its push token registers under their account."""
        phones = self._signed_out if self._signed_out and lot < 0.2 else self._in_use
        former = self._take(phones, lot)
        heirs = [account for account in self._accounts[former.app_id] if account != former.account]
        self._moves += 1
        heir = replace(former, account=self._dice.choice(heirs), device=f"second-hand-{self._moves}")
        if self._register(heir):
            self._in_use.append(heir)

    def _change_environment(self, lot: float) -> None:
        """A developer starts a build of the store on their phone, or one of their own: the same token registers."""
        apples = [phone for phone in self._in_use if phone.platform == "apns"]
        phone = self._take(apples, lot)
        other = ENVIRONMENTS[1 - ENVIRONMENTS.index(phone.environment)]
        if self._register(changed := replace(phone, environment=other)):
            self._in_use[self._in_use.index(phone)] = changed

    def _sign_out(self, lot: float) -> None:
        phone = self._take(self._in_use, lot)
        if self._insist(phone, lambda: self._delete(phone), "removed"):
            self._signed_out.append(phone)

    def _kill_token(self, lot: float) -> None:
        """A push token is dead from now on; the phone whose token died before this one registers a new one."""
        for phone in self._dead:
            successor = apple_phone(phone.app_id, phone.account, phone.device, self._dice)
            if self._register(successor):
                self._in_use.append(successor)
        apples = [phone for phone in self._in_use if phone.platform == "apns"]
        phone = self._take(apples, lot)
        self._in_use.remove(phone)
        self._dead = [phone]
        dead = {"device_token": phone.push_token, "state": "unregistered", "timestamp_ms": time.time_ns() // 1_000_000}
        begin_ms = now_ms()
        for emulator in (APNS, SANDBOX):
            self._rig.http.post(f"{self._rig.control(emulator)}/devices", json=dead, timeout=10).raise_for_status()
        self._log.write("fault", kind="provider_410", target=phone.push_token, pid=None, begin_ms=begin_ms, end_ms=None)

    def _register(self, phone: Phone) -> bool:
        if not phone.device:  # the provider's own account, which is not registered with us
            self._note("registered", phone, now_ms())
            return True
        return self._insist(phone, lambda: self._put(phone), "registered")

    def _put(self, phone: Phone) -> requests.Response:
        return self._rig.register(
            phone.account, phone.device, phone.push_token, app_id=phone.app_id, platform=phone.platform,
            **{name: value for name in ("resource", "environment") if (value := getattr(phone, name))},
        )  # fmt: skip

    def _delete(self, phone: Phone) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._rig.bearer(phone.account)}"}
        url = f"{self._rig.web}/api/devices/{phone.device}"
        return self._rig.http.delete(url, params={"app": phone.app}, headers=headers, timeout=10)

    def _insist(self, phone: Phone, call: Callable[[], requests.Response], done: str) -> bool:
        """As an app does: again, until it is answered. Whose the device is, is unknown in between."""
        for _ in range(_TRIES):
            asked_ms = now_ms()
            try:
                status = call().status_code
            except requests.RequestException:
                status = 0
            if status == 200 or (status == 404 and done == "removed"):  # an earlier try may have been carried out
                self._note(done, phone, asked_ms)
                return True
            assert status in (0, 503), f"a client was answered {status}"
            self._note("registration_unknown", phone, asked_ms)
            time.sleep(_AGAIN_AFTER_S)
        return False

    def _note(self, event: str, phone: Phone, asked_ms: int) -> None:
        self._log.write(
            event, asked_ms=asked_ms, app=phone.app, account=phone.account, device=phone.device,
            platform=phone.platform, push_token=phone.push_token, resource=phone.resource,
        )  # fmt: skip

    def _take(self, phones: list[Phone], lot: float) -> Phone:
        return phones.pop(int(lot * len(phones)))

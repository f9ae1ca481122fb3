"""Who lives in the emulated world: accounts, their phones and the groups that they talk in, all drawn from the seed."""

import random
from dataclasses import dataclass, replace

from tests.chaos.size import Size
from tests.system.rig import MAIN, OTHER, SECTION

APP_IDS = (MAIN, OTHER)
ENVIRONMENTS = ("production", "sandbox")
LOGINS = ("login-phone", "login-tablet")
_FIRST_TOPIC_ID = 21351198708203520


@dataclass(frozen=True)
class Phone:
    """`device` is "" and `push_token` the account where the provider itself knows the account's phones.

    `resource` names its login at MIMC; many apps do not give it. `environment` is APNs': a developer's build is reached
    in the sandbox.
    """

    app_id: str
    account: str
    device: str
    platform: str
    push_token: str
    resource: str = ""
    environment: str = ""

    @property
    def app(self) -> str:
        return SECTION[self.app_id]


@dataclass(frozen=True)
class Group:
    topic_id: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class People:
    """Of one app section."""

    app_id: str
    accounts: tuple[str, ...]
    phones: tuple[Phone, ...]
    groups: tuple[Group, ...]


def draw_people(seed: int, size: Size) -> dict[str, People]:
    """By appId. The same for the same seed and size, in whichever process."""
    return {app_id: _draw(app_id, random.Random(f"people of {app_id} {seed}"), size) for app_id in APP_IDS}


def _draw(app_id: str, dice: random.Random, size: Size) -> People:
    accounts = tuple(f"{SECTION[app_id]}-{number:04}" for number in range(size.accounts))
    phones = tuple(phone for account in accounts for phone in _phones(app_id, account, dice))
    return People(app_id, accounts, phones, _groups(app_id, accounts, dice, size))


def _phones(app_id: str, account: str, dice: random.Random) -> list[Phone]:
    """In section main Xiaomi's phones are known by account; in other they register like iPhones."""
    count = dice.choices((0, 1, 2), (1, 6, 3))[0]
    if app_id == MAIN:
        phones = [apple_phone(app_id, account, f"iphone-{number}", dice) for number in range(count)]
        return [*phones, Phone(app_id, account, "", "mipush", account)]
    return [
        apple_phone(app_id, account, f"phone-{number}", dice)
        if dice.random() < 0.7
        else _phone(app_id, account, f"phone-{number}", "mipush", f"regid-{dice.getrandbits(96):024x}", dice)
        for number in range(count)
    ]


def apple_phone(app_id: str, account: str, device: str, dice: random.Random) -> Phone:
    phone = _phone(app_id, account, device, "apns", f"{dice.getrandbits(256):064x}", dice)
    return replace(phone, environment=dice.choices(ENVIRONMENTS, (3, 1))[0])


def _phone(app_id: str, account: str, device: str, platform: str, push_token: str, dice: random.Random) -> Phone:
    return Phone(app_id, account, device, platform, push_token, dice.choices(("", *LOGINS), (4, 2, 1))[0])


def _groups(app_id: str, accounts: tuple[str, ...], dice: random.Random, size: Size) -> tuple[Group, ...]:
    """Many small ones and few large ones, from 1 to `most_members`, the same sizes whatever the seed."""
    shares = [number / max(size.groups - 1, 1) for number in range(size.groups)]
    first = _FIRST_TOPIC_ID + (0 if app_id == MAIN else 1_000_000)
    return tuple(
        Group(str(first + number), tuple(dice.sample(accounts, round(size.most_members ** (share**2)))))
        for number, share in enumerate(shares)
    )

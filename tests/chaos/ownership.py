"""Whose device an address was, as far as it can be known from outside."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

from tests.chaos.pushes import Address

Span = tuple[int, int]  # from, to; in ms
_FORGOTTEN = "perhaps forgotten"  # answered, and perhaps lost with the master that did so
_UNCERTAIN = frozenset({"registration_unknown", _FORGOTTEN})
_LATE_MS = 5_000  # a registration without an answer may still be carried out: the store's time-out and its repeat


class Owner(NamedTuple):
    """A device of an account; `device` is "" where the provider is given the account itself."""

    app: str
    account: str
    device: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class OwnershipClaim(NamedTuple):
    """An account registered an address or gave it up; `kind` is the run log's event."""

    kind: str
    asked_ms: int
    ms: int
    owner: Owner
    address: Address
    resource: str

    @property
    def done_ms(self) -> int:
        """From then on it has surely been carried out, or never will be."""
        return self.ms + _LATE_MS if self.kind == "registration_unknown" else self.ms

    def perhaps_forgotten(self, failovers: Sequence[Span]) -> "OwnershipClaim":
        """What was answered while the store's old master may have gone on alone holds or does not, from its end on."""
        ends = [end for begin, end in failovers if self.asked_ms <= end and begin <= self.ms]
        if not ends or self.kind == "registration_unknown" or self.address[0] == "account":
            return self
        return self._replace(kind=_FORGOTTEN, ms=max(self.ms, *ends))


class Hold(Enum):
    """Whether a device was its account's, from a moment on to the end of the run."""

    NO = auto()
    SURELY = auto()
    PERHAPS = auto()


class Ownership:
    """All claims of a run. `by_account` names the sections whose MiPush is given accounts.

    `emptied` are the times from which the store had lost everything to when it was there again; `dead` says from when
    to when a provider called an address dead. Of the `failovers` what was answered meanwhile may be forgotten.
    """

    def __init__(
        self,
        events: Iterable[Mapping[str, Any]],
        by_account: Iterable[str],
        emptied: Sequence[Span],
        dead: Mapping[Address, Sequence[Span]],
        failovers: Sequence[Span] = (),
    ) -> None:
        self._emptied = emptied
        self._dead = dead
        self._of_owner: dict[Owner, list[OwnershipClaim]] = defaultdict(list)
        self._of_address: dict[Address, list[OwnershipClaim]] = defaultdict(list)
        self._owners: dict[tuple[str, str], dict[Owner, None]] = defaultdict(dict)
        sections = set(by_account)
        for event in events:
            if event["event"] in ("registered", "removed", "registration_unknown"):
                self._add(_claim(event, sections).perhaps_forgotten(failovers))
        self._phones = _phones(self._of_address.values())

    def owners(self, app: str, account: str) -> Iterable[Owner]:
        """The devices that an account ever had, or may have had."""
        return self._owners.get((app, account), ())

    def registered_since(self, app: str, account: str, since_ms: int) -> bool:
        """Whether the account may have got a device after that moment."""
        return any(
            claim.kind != "removed" and claim.done_ms >= since_ms
            for owner in self.owners(app, account)
            for claim in self._of_owner[owner]
        )

    def addresses(self, owner: Owner) -> set[Address]:
        return {claim.address for claim in self._of_owner[owner]}

    def undisturbed(self, owner: Owner) -> Address | None:
        """The device's address, where it was theirs alone and nothing happened to it but the loss of the store."""
        mine = self._of_owner[owner]
        address = mine[0].address
        claims = self._of_address[address]
        if len(claims) != len(mine) or address in self._dead or any(claim.kind != "registered" for claim in claims):
            return None
        return address if len(mine) == 1 or self._emptied else None

    def app_of(self, address: Address) -> str:
        """Whose users have had it."""
        claims = self._of_address.get(address)
        return claims[0].owner.app if claims else ""

    def resource(self, owner: Owner) -> str:
        """The login that the device named last."""
        return self._of_owner[owner][-1].resource

    def phone_of(self, owner: Owner) -> Owner:
        """The same for all names under which an account has registered one phone: they share a push token."""
        return self._phones.get(owner, owner)

    def others_between(self, address: Address, account: str, since_ms: int, until_ms: int) -> bool:
        """Whether another account may have had the address in between."""
        return any(
            claim.owner.account != account and claim.asked_ms <= until_ms and claim.done_ms >= since_ms
            for claim in self._of_address.get(address, ())
        )

    def possible_owners(self, address: Address, since_ms: int, until_ms: int) -> list[Owner]:
        """All whose the address may have been at some moment of that time; none where it surely had no owner."""
        if address[0] == "account":
            return []
        claims = self._of_address.get(address, [])
        if len(claims) == 1:
            (only,) = claims
            return [only.owner] if only.kind != "removed" and only.asked_ms <= until_ms else []
        return list(dict.fromkeys(
            claim.owner
            for claim in claims
            if claim.kind != "removed" and claim.asked_ms <= until_ms
            and not any(_ends(other, claim) and other.ms <= since_ms for other in claims)
        ))  # fmt: skip

    def hold(self, owner: Owner, at_ms: int) -> Hold:
        """Whether the device surely was the owner's at that moment, and stayed theirs until the end of the run."""
        mine = self._of_owner[owner]
        since = [
            claim
            for claim in mine
            if claim.kind == "registered" and claim.ms <= at_ms and not self._forgotten(claim, at_ms)
        ]
        if not since:
            maybe = any(
                claim.kind != "removed" and claim.asked_ms <= at_ms and not self._forgotten(claim, at_ms)
                for claim in mine
            )
            return Hold.PERHAPS if maybe else Hold.NO
        last = since[-1]
        if last.address[0] == "account" or self._undisturbed(last):
            return Hold.SURELY
        addresses = {claim.address for claim in mine if claim is last or claim.done_ms > last.asked_ms}
        changes = [claim for claim in mine if claim.done_ms > last.asked_ms and _lets_go(claim, last, mine)]
        changes += [claim for address in addresses for claim in self._of_address[address] if _takes(claim, last)]
        if any(_ends(claim, last) and claim.ms <= at_ms for claim in changes):
            return Hold.NO
        deaths = [span for address in addresses for span in self._dead.get(address, ()) if span[1] > last.asked_ms]
        if any(begin <= at_ms for begin, _ in deaths):
            return Hold.NO
        emptied_later = any(begin > last.asked_ms for begin, _ in self._emptied)
        return Hold.PERHAPS if changes or deaths or emptied_later else Hold.SURELY

    def _undisturbed(self, claim: OwnershipClaim) -> bool:
        """The usual case: no other owner ever had to do with the address, and nothing has happened to it."""
        alone = len(self._of_owner[claim.owner]) == len(self._of_address[claim.address]) == 1
        return alone and not self._emptied and claim.address not in self._dead

    def _add(self, claim: OwnershipClaim) -> None:
        self._of_owner[claim.owner].append(claim)
        self._of_address[claim.address].append(claim)
        self._owners[claim.owner.app, claim.owner.account][claim.owner] = None

    def _forgotten(self, claim: OwnershipClaim, at_ms: int) -> bool:
        """The store had lost it by that moment."""
        return claim.address[0] != "account" and any(claim.asked_ms < end and begin <= at_ms
                                                     for begin, end in self._emptied)  # fmt: skip


def _claim(event: Mapping[str, Any], by_account: set[str]) -> OwnershipClaim:
    app, account, platform = event["app"], event["account"], event["platform"]
    owner, address = Owner(app, account, event["device"]), (platform, event["push_token"].lower())
    if platform == "mipush" and app in by_account:
        owner, address = Owner(app, account, ""), ("account", account)
    elif platform == "mipush":
        address = ("regid", event["push_token"])
    return OwnershipClaim(event["event"], event["asked_ms"], event["ms"], owner, address, event.get("resource", ""))


def _ends(other: OwnershipClaim, claim: OwnershipClaim) -> bool:
    """After `other` the address is surely no longer held by `claim`."""
    if other is claim or other.kind in _UNCERTAIN or other.asked_ms <= claim.done_ms:
        return False
    return other.kind == "registered" or other.owner == claim.owner


def _takes(other: OwnershipClaim, claim: OwnershipClaim) -> bool:
    """`other` gives the address to another owner, or may."""
    return other.owner != claim.owner and other.kind != "removed" and other.done_ms > claim.asked_ms


def _lets_go(other: OwnershipClaim, claim: OwnershipClaim, mine: Sequence[OwnershipClaim]) -> bool:
    """The owner gives the device up, or may, or lets it be reached by another channel.

    A call without an answer is repeated until it has one, which says what was called for.
    """
    if other.kind == _FORGOTTEN:
        return True
    if other.kind == "registration_unknown":
        answered = next((claim for claim in mine if claim.asked_ms > other.asked_ms and claim.kind != other.kind), None)
        return answered is None or answered.kind == "removed"
    return other.kind == "removed" or other.address[0] != claim.address[0]


def _phones(by_address: Iterable[Sequence[OwnershipClaim]]) -> dict[Owner, Owner]:
    """Each owner's first name for the same phone, where there are several."""
    first: dict[Owner, Owner] = {}

    def name(owner: Owner) -> Owner:
        while owner in first:
            owner = first[owner]
        return owner

    for claims in by_address:
        of_account: dict[tuple[str, str], Owner] = {}
        for owner in dict.fromkeys(claim.owner for claim in claims):
            former = of_account.setdefault((owner.app, owner.account), owner)
            if name(owner) != name(former):
                first[name(owner)] = name(former)
    return {owner: name(owner) for owner in first}

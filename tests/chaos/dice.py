"""The dice: which faults strike when, drawn from the seed before anything happens."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.size import CLUSTER, SENTINEL, Size

# Troubles of one track come one after the other, the tracks run side by side. Weights say how often.
_APNS = {
    "provider_429": 1, "provider_503": 1, "provider_goaway": 2, "provider_reset": 2, "provider_silence": 1,
    "provider_slow": 1, "provider_unreachable": 2, "provider_wrong_key": 1,
}  # fmt: skip
TRACKS: Mapping[str, Mapping[str, int]] = {
    "processes": {"kill_worker": 4, "stop_worker": 2, "slow_worker": 2, "slow_machine": 1, "restart_worker": 2,
                  "kill_web_child": 3, "kill_web": 1,
                  "restart_web": 1, "reload_web": 1},
    "store": {"kill_store": 2, "store_away": 2, "kill_web_spooling": 2, "spool_full": 1},
    "apns": _APNS,
    "sandbox": _APNS,
    "mipush": {"provider_429": 1, "provider_503": 1, "provider_reset": 2, "provider_silence": 1, "provider_slow": 1,
               "provider_wrong_key": 1},
    "devices": {"move": 6, "sign_out": 2, "provider_410": 2, "other_environment": 2},
}  # fmt: skip
# Where it is several servers: one of them is killed or hangs, see stores.py.
REPLICATED: Mapping[str, int] = {**TRACKS["store"], "force_failover": 2, "stop_replica": 1}
CLUSTERED: Mapping[str, int] = {**REPLICATED, "migrate_slots": 3}
# The store is away less often: meanwhile nothing else can show an effect. Devices change hands more often.
_PAUSES: Mapping[str, float] = {"store": 3.0, "sandbox": 2.0, "devices": 0.4}


EMPTY_STORE = "empty_store"


@dataclass(frozen=True)
class Trouble:
    """`begins_s` after the first message. `lot`, 0..1, chooses among the processes, devices or effects."""

    track: str
    kind: str
    begins_s: float
    for_s: float
    lot: float

    def __str__(self) -> str:
        return f"{self.begins_s:6.1f} s  {self.track:9}  {self.kind:18}  {self.for_s:4.1f} s  lot {self.lot:.3f}"


def draw_troubles(seed: int, size: Size) -> dict[str, list[Trouble]]:
    """By track, each in order of time."""
    plan = {track: _draw(track, random.Random(f"{track} {seed}"), size) for track in TRACKS}
    if size.empty_store:
        half = size.seconds / 2
        emptied = Trouble("devices", EMPTY_STORE, round(half, 2), size.fault_for_s[1], 0.0)
        plan["store"] = []
        plan["devices"] = sorted([*plan["devices"], emptied], key=lambda trouble: trouble.begins_s)
    return plan


def _draw(track: str, dice: random.Random, size: Size) -> list[Trouble]:
    mean_s = size.fault_every_s * _PAUSES.get(track, 1.0)
    found, at_s, deck = list[Trouble](), 0.1 * size.seconds, list[str]()
    while True:
        at_s += dice.uniform(0.3, 1.7) * mean_s
        if at_s > 0.9 * size.seconds:
            return found
        deck = deck or _shuffled(weights_of(track, size), dice, size)
        kind = deck.pop()
        for_s = _duration(kind, dice, size)
        found.append(Trouble(track, kind, round(at_s, 2), round(for_s, 2), dice.random()))
        at_s += for_s


def weights_of(track: str, size: Size) -> Mapping[str, int]:
    of_store = {CLUSTER: CLUSTERED, SENTINEL: REPLICATED}
    return of_store.get(size.store, TRACKS[track]) if track == "store" else TRACKS[track]


def _shuffled(weights: Mapping[str, int], dice: random.Random, size: Size) -> list[str]:
    """A deck, so that in a long run none is left out."""
    cards: Sequence[str] = [kind for kind, weight in weights.items() if kind not in size.without for _ in range(weight)]
    return dice.sample(cards, len(cards))


def _duration(kind: str, dice: random.Random, size: Size) -> float:
    least, most = size.fault_for_s
    match kind:
        case "stop_worker":  # longer than its lease, so that the others take over what it holds
            return size.lease_s * dice.uniform(1.2, 1.6)
        case "move" | "sign_out" | "provider_410" | "other_environment":
            return 0.0
        case "provider_wrong_key":
            return most
        case _:
            return dice.uniform(least, most)

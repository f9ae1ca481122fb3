"""How much is measured. Every load is bounded by these numbers and ends by itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """`requests` a round and server at full speed, `calm_requests` at half of it. In a round of pushes `callbacks` of
    `members` accounts with two phones each are planned and pushed; the peer sends `peer_pushes`. `trips` are alerts
    from callback to push at full speed, a third of it at an even pace. `starved_s` and `idle_s` are seconds a round.
    The room of `stored` messages in the store is measured. `flood` messages wait, while
    `fair_messages` of others come. `pairs` of rounds have the console open and closed."""

    rounds: int
    requests: int
    calm_requests: int
    push_rounds: int
    callbacks: int
    members: int
    peer_pushes: dict[int, int]  # by the provider's delay in ms
    trips: int
    starved_s: float
    starved_rounds: int
    idle_s: float
    stored: int
    workers: int = 1
    threads: int = 4
    connections: int = 32
    flood: int = 8_000
    fair_messages: int = 60
    fair_rounds: int = 3
    pairs: int = 10


FULL = Size(5, 1500, 1000, 3, 10, 500, {30: 60, 0: 400}, 3000, 20, 1, 20, 200_000)
QUICK = Size(
    3, 500, 300, 1, 3, 500, {30: 20, 0: 100}, 900, 6, 1, 6, 20_000, flood=4000, fair_messages=30, fair_rounds=2, pairs=4
)
TINY = Size(
    1, 40, 40, 1, 2, 3, {0: 3}, 30, 2, 1, 2, 40, connections=4, flood=20, fair_messages=4, fair_rounds=1, pairs=1
)

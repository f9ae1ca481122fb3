"""Where dedupe marks lie: that a callback is stored, that a message was planned for a target.

A key for each would take ten times its bytes. So a mark is a field of a bucket: a hash that is small enough for the
server to keep it as a list (hash-max-listpack-entries, 512 by default). A bucket is one of many of its generation, and
a generation is a span of time in which messages were accepted. Buckets live until dedupe_ttl after their last mark, at
most twice that after the first, and go whole.

    mark of a message accepted at t    written into generation t // span, looked for from (t - dedupe_ttl) // span
                                       to (t + dedupe_ttl) // span: three where both are a day
    bucket                             of the callback, or of the message within the shard of the target's account
    field                              8 bytes of a digest with the store's own key, independent of the bucket's number

It does not matter whose clock is a little ahead, nor which of two callbacks about one message is planned first: each
looks into the neighbours on both sides. A message is taken for another, and lost, where a field is in one of three
buckets by chance: 3 x 512 / 2^64 is 1 in 10^16 for each message, and on a first day of 1,000 messages a second, with
42,000 marks in a bucket, 1 in 10^14. Who does not know the store's key can choose no such message.

How many buckets a generation has is written down while the one before it runs, from how full that one's are
(mark_sizes.py). A new store begins with as many as suit one to ten messages a second. With more than that its marks lie
in hash tables on the first day: 40 bytes each (Valkey 9.1) or 75 (Redis 7.0) instead of 13 to 16.

A store that an earlier program made has a key for each mark, as that program has. From a moment that `app-proxy store
upgrade` writes down, new marks go into buckets, and for dedupe_ttl both places are asked.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b

GENERATION_MS = 86_400_000
BUCKETS = 4_096  # of the first generation in all shards: 40 marks each at one message between two a second
_FIELD, _NUMBER, _BASE, _APART = 8, 4, 16, 20  # bytes
_REMEMBERED = 10_000
_SIZES_KEPT = 30  # and one more; of a store whose traffic grows tenfold and falls again each month, some years


@dataclass(frozen=True)
class Marks:
    """How a store keeps them. `buckets`: of a generation and shard; `from_ms`: those before have keys of their own.

    `sizes`: (generation, buckets), from that generation on, the latest last.
    """

    generation_ms: int
    buckets: int
    key: bytes
    from_ms: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    _known: dict[tuple[str, int, int, int], list[tuple[str, int]]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def new(cls, shards: int, from_ms: int = 0) -> "Marks":
        return cls(GENERATION_MS, max(BUCKETS // max(shards, 1), 16), secrets.token_bytes(16), from_ms)

    @classmethod
    def read(cls, said: str) -> "Marks":
        """Of `str`."""
        generation_ms, buckets, key, from_ms, *sizes = said.split()
        pairs = tuple((int(since), int(size)) for since, _, size in (it.partition(":") for it in sizes))
        return cls(int(generation_ms), int(buckets), bytes.fromhex(key), int(from_ms), pairs)

    def __str__(self) -> str:
        sizes = [f"{since}:{size}" for since, size in self.sizes]
        return " ".join([str(self.generation_ms), str(self.buckets), self.key.hex(), str(self.from_ms), *sizes])

    def buckets_of(self, generation: int) -> int:
        return next((size for since, size in reversed(self.sizes) if generation >= since), self.buckets)

    def resized(self, generation: int, buckets: int) -> "Marks":
        """From this generation on, of which no mark may have been written yet."""
        return replace(self, _known={}, sizes=(*self.sizes[-_SIZES_KEPT:], (generation, buckets)))

    def generations(self, at_ms: int, ttl_ms: int) -> Sequence[int]:
        """Those in which a mark of this moment may lie, the one in which it is written first."""
        own, first, last = (when // self.generation_ms for when in (at_ms, at_ms - ttl_ms, at_ms + ttl_ms))
        return [own, *range(own - 1, first - 1, -1), *range(own + 1, last + 1)]

    def places(self, of: bytes, at_ms: int, ttl_ms: int, base: str) -> list[str]:
        """The buckets to look in, the first is where the mark is written. `base` of their keys."""
        span_ms, number = self.generation_ms, int.from_bytes(of[:_NUMBER], "big")
        which = base, at_ms // span_ms, (at_ms - ttl_ms) // span_ms, (at_ms + ttl_ms) // span_ms
        known = self._known.get(which)
        if known is None:  # one more now and then: mostly they are today's
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            found = self.generations(at_ms, ttl_ms)
            known = self._known[which] = [(bucket_prefix(base, it), self.buckets_of(it)) for it in found]
        return [f"{prefix}{number % buckets:x}" for prefix, buckets in known]

    def digest(self, app_id: str, name: str) -> bytes:
        """Of a callback or message."""
        return _digest(self.key, app_id, name)


def bucket_prefix(base: str, generation: int) -> str:
    """Of a bucket's key: its number in hexadecimal digits follows."""
    return f"{base}marks:{generation}:"


def field_of_callback(of: bytes) -> bytes:
    return of[_NUMBER : _NUMBER + _FIELD]


def field_of_target(of: bytes, target: bytes) -> bytes:
    return blake2b(of + target, digest_size=_FIELD).digest()


@lru_cache(maxsize=4096)
def _digest(key: bytes, app_id: str, name: str) -> bytes:
    """A message is asked for more than once, by plan and soon by who settles it."""
    return blake2b(key + f"{app_id}:{name}".encode(), digest_size=_BASE).digest()


def name_in(key: str, field: bytes) -> bytes:
    """What a mark is called in this key, as marks.lua has it."""
    return field[-_FIELD:] if ":marks:" in key else field[:_APART]

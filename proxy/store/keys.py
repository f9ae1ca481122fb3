"""Every key in the store: its type, TTL and writer. Nothing else may make up a key.

Keys that one script touches lie in one shard: they carry one hash tag, so that they are in one slot of a Cluster.
`~` stands for `proxy:{tag of the shard}:<appId>:`; in a store that an earlier program made, for `proxy:{appId}:`.
`~~` is what all appIds have together in a shard: the same without the appId.
Accounts are users' own names and may hold anything; they and push tokens enter a key as a digest.

    key                                      type    TTL              written by            holds
  of a callback, in the shard of its id
    ~callbacks                               stream  until planned    web (accept)          messages not yet planned
    ~waiting                                 zset    until due        worker (plan)         a message for full lanes
    ~seen:<callback id>                      string  dedupe TTL       web (accept)          this callback is stored
  of a callback or of an account, in its shard
    ~writes                                  string  for ever         web, worker           accepted and settled so far
    ~dead                                    stream  capped           worker (settle)       dead letters
    ~dead-words:<letter id>                  string  dedupe TTL       worker (settle)       its record with the words
    ~~marks:<generation>:<bucket>            hash    see marks.py     web, worker           both of seen and planned
    ...:late                                 hash    as its bucket    worker (withdraw)     withdrawals that go after
  of an account, in the shard of its digest
    ~planned:<message id>                    hash    dedupe TTL       worker                each target's alert: where
    ~words:<d>                               string  alert's + 1 hour worker (plan)         what many jobs of it say
    ~jobs:<app>:<channel>                    stream  until settled    worker (plan, move)   a lane's jobs
    ~retries:<app>:<channel>                 zset    until due        worker (settle)       jobs by due time, ms
    ~unknown:<app>:<account d>               string  6 h              worker (settle)       Mi Push does not know it
    ~account:<app>:<account d>               hash    400 days         web (devices)         registration by device
    ~leftover:<app>:<account d>              hash    400 days         web, worker           registrations half changed
    ~preferences:<account d>                 string  400 days         web (preferences)     mutes, quiet hours, preview
    ~present:<account d>                     string  alerts.present_s web (tokens)          it fetched a token just now
    ~badge:<account d>                       hash    7 days           worker, web           unread, by conversation
    ~badge-due:<account d>                   string  5 s              worker, web           its phones will be told
    ~fold:<account d>:<d>                    hash    see below        worker                alerts told together
    ~aside-of:<app>:<account d>              hash    7 days           worker (deliver)      an account's, by device
    ~history:new                             stream  10 minutes       worker, web           how messages ended
    ~history:<bucket>                        stream  7 days           worker (file)         the same, by account
  of a conversation, in the shard of its digest
    ~said:<d>                                zset    dedupe TTL       worker (plan)         messages by the app's msgId
    ~shown:<app>:<channel>:<d>               string  dedupe TTL       worker (settle)       latest alert accepted
    ~flying:<app>:<channel>:<d>              string  one lease        worker (deliver)      its conversation lock
    ~sent:<app>:<channel>:<d>                string  10 minutes       worker (deliver)      alert that may be shown
  of a push token, in the shard of its digest
    ~token:<app>:<platform>:<d>              hash    400 days         web (devices)         the push token's owner
    ~devices:<app>:<platform>                string  400 days         web, worker           push tokens with an owner
    ~rest:<app>:<platform>:<d>               string  until over       worker (deliver)      a device takes no more now
    ~aside:<app>:<platform>:<d>              hash    7 days           worker (deliver)      a removed registration
    ~moved:<stream>                          hash    until it ends    cli (reshard)         each source's last entry
  of an appId, in no shard
    proxy:{appId}:pause:<app>:<channel>      hash    30 days          worker (deliver)      why it is paused
    proxy:{appId}:probe:<app>:<channel>      string  until due        worker (deliver)      no probe before this is gone
    proxy:{appId}:resumed:<app>:<channel>    string  15 s             worker (deliver)      it was resumed just now
    proxy:{appId}:forgotten:<app>:<platform> zset    7 days           worker (deliver)      removed devices, by ms
    proxy:{appId}:held:<app>:<platform>      zset    1 hour           worker (deliver)      kept by the guard, by ms
    proxy:{appId}:reserved:<app>:<platform>  zset    7 days           worker (deliver)      removals under way, by ms
    proxy:{appId}:brake:<app>:<platform>     hash    1 day            worker (deliver), cli the removal guard
    proxy:{appId}:quota:<amount>             string  two spans, debt  web                   what MIMC had of the app
    proxy:{appId}:quota-of-users:<amount>    string  the same         web                   of it, of users
    proxy:{appId}:quota-of:<amount>:<d>      string  the same         web                   of it, of the account
    proxy:{appId}:ready                      string  1 minute         web (health)          can the store be written?
  of no appId
    proxy:{<team>}:provider-token:<id>:<d>   string  1 hour           worker (deliver), cli the key's JWT for APNs
    ...:signing                              string  5 s              worker (deliver)      the lock of who signs it
    proxy:{store}:generation                 hash    for ever         web, worker           which store this is, loss
    proxy:{store}:clocks                     hash    1 hour           web, worker           clocks that are wrong
    proxy:{store}:tokens                     hash    1 hour           web (tokens)          does MIMC give tokens?
    proxy:{store}:workers                    zset    1 day            worker                its last word, by ms
    proxy:{store}:worker:<instance>          string  15 s             worker                what it says of itself
    proxy:{store}:figures:<seconds>:<start>  hash    62 min, 24.5 h   worker                what it did in that time
    proxy:{blocked}:accounts                 set     until lifted     web, cli              digests of blocked accounts
    proxy:{blocked}:session:<d>              string  the session's    web (sign-out)        this session has ended
    proxy:{services}:api-keys                hash    until revoked    cli                   each key, by its SHA-256
    proxy:{services}:api-keys-used           hash    until revoked    web                   when each was used, by id
    proxy:idempotency:<d>                    hash    24 hours         web                   a call, and its answer
    proxy:limits:<limit>:<d>                 string  two windows      web (admit)           calls of this caller
    proxy:signed-in:<d>                      string  90 days          web (sign-in)         account signed in from here

Preferences live on from each time that they are set or read, or a device of the account is registered.
The owner of a device's first push token also names those of its fallbacks, as "others".
What deliver writes of removed devices, the guard and unknown accounts, the web writes too, where a receipt says so.
Callbacks for a webhook lie in jobs and retries, too, with the channel webhook-<name>, in the shard of the callback.
What lives until it is planned, settled or due has a cap instead: callbacks and those that wait together one, a lane's
jobs and retries together one. The history has a cap in bytes too, of all its streams: `alerts.history_max_bytes`.
Marks lie in buckets in a compact store, and in keys of their own (seen, planned) in one that an earlier program made,
until an operator runs `app-proxy store upgrade`.
<d> of limits and signed-in: the digest of an account, an address, or both; of idempotency: of caller, call and the
client's key. They have no tag. <d> of words: their own.
<d> of said: a group, or a talk and its reader; with alerts.withdraw alone. A field of planned is "1", and what
withdraw.lua says from then on; an earlier program asks whether it is there.
<d> of fold: a target and conversation; it lives as long as alerts may fold into it (alerts.fold_s, and the life of what
was folded).
<d> of shown, flying and sent: a target and conversation on a channel whose alerts replace each other on the phone.
Some words are older than ours: forgotten, aside (removed devices), brake (removal guard), flying (conversation lock).
"""

import re
import zlib
from binascii import crc_hqx
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from proxy.domain.callbacks import account_digest, digest
from proxy.domain.lanes import Lane
from proxy.store.marks import Marks, field_of_callback, field_of_target, name_in

GROUP = "workers"
SHARDS = 16  # of a store that is new; enough for that many masters
MOST_SHARDS = 1024
DEVICE_TTL_S = 400 * 86_400
CLOCKS_TTL_S = 3_600
TOKENS_TTL_S = 3_600
WORKER_STATE_TTL_S = 15
WORKERS_TTL_S = 86_400
REMOVAL_GUARD_TTL_S = 86_400
PAUSE_TTL_S = 30 * 86_400
SIGNED_IN_TTL_S = 90 * 86_400
HISTORY_TTL_S = 8 * 86_400  # its notes go after 7 days; a stream that is no longer swept goes whole
RESUMED_TTL_S = 15  # longer than the ramp to 5000 in flight takes
PROVIDER_TOKEN_TTL_S = 3_600
_OWNER, _REMOVED = ":token:", ":aside:"
_SLOTS = 16_384  # of a Cluster
_SPELLINGS = 2_000  # of a tag; one of them lies within some slots of any


_NAME = re.compile(r"proxy:\{([^}]*)\}:(.*)", re.DOTALL)
_TAG_OF_SHARD = re.compile(r"\d+\.\d+")
_OF_ALL = "marks"
_IN_A_SHARD = frozenset({
    "callbacks", "waiting", "seen", "writes", "dead", "dead-words", _OF_ALL, "planned", "words", "jobs", "retries",
    "unknown", "account", "leftover", "preferences", "present", "badge", "badge-due", "fold", "history", "said",
    "shown", "flying", "sent", "token", "devices", "rest", "aside", "aside-of", "moved",
})  # fmt: skip


class Place(NamedTuple):
    """Where a key lies, and what its name is there: "account:<app>:<digest>". `app_id` "": it is of all of them."""

    app_id: str
    shard: int
    rest: str

    @property
    def kind(self) -> str:
        return self.rest.partition(":")[0]


@cache
def tags_of(shards: int) -> tuple[str, ...]:
    """The hash tag of each shard: "n.k", with the k whose slot is nearest to the middle of the nth of equal parts of
    all slots. So any number of masters, each with a run of slots, has its share; of plain numbers one of 3 or 6 masters
    has 1.3 to 1.5 times the mean (measured).
    """
    width = _SLOTS / shards

    def distance(tag: str, shard: int) -> float:
        slot = crc_hqx(tag.encode(), 0) % _SLOTS  # CRC16 as Redis has it
        return abs(slot - (shard + 0.5) * width)

    return tuple(
        min((f"{shard}.{k}" for k in range(_SPELLINGS)), key=lambda tag, shard=shard: distance(tag, shard))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
        for shard in range(shards)
    )


@lru_cache(maxsize=4096)  # what comes of one message asks for its digests some ten times
def spread(text: str) -> int:
    """A number whose lowest bits name a shard, and the bucket of an account's history."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


class Layout:
    """Where each key lies in one store, which says itself how many `shards` it has.

    0: as earlier versions had it, all of an appId under one tag. Then everything is in a shard 0.
    """

    def __init__(self, shards: int, marks: Marks | None = None) -> None:
        """`marks` None: each has a key of its own, and records are JSON, as earlier versions read them."""
        self.shards, self.marks = shards, marks
        self.all_shards = range(max(shards, 1))
        self._tags = tags_of(shards) if shards else ()
        self._bases: dict[tuple[str, int], str] = {}
        self._bases_of_all = [f"proxy:{{{tag}}}:" for tag in self._tags]

    def __repr__(self) -> str:
        return f"Layout({self.shards}, {'compact' if self.is_compact else 'as before'})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and (self.shards, self.marks) == (other.shards, other.marks)

    def __hash__(self) -> int:
        return hash((self.shards, self.marks))

    @property
    def is_compact(self) -> bool:
        return self.marks is not None

    # which shard

    def shard_of_account(self, account: str) -> int:
        return self.shard_of_digest(account_digest(account))

    def shard_of_callback(self, callback_id: str) -> int:
        return self.shard_of_digest(callback_id)

    def shard_of_digest(self, text: str) -> int:
        """Of an account's, a push token's or a conversation's digest."""
        return spread(text) & (self.shards - 1) if self.shards > 1 else 0

    def place(self, name: str) -> Place | None:
        """None: it is in no shard of this layout."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        tag, rest = found.groups()
        if not self.shards:
            is_ours = rest.partition(":")[0] in _IN_A_SHARD and not _TAG_OF_SHARD.fullmatch(tag)
            return Place(tag, 0, rest) if is_ours else None
        if tag not in self._tags:
            return None
        app_id, _, rest_of_app = rest.partition(":")
        shard = self._tags.index(tag)
        return Place("", shard, rest) if app_id == _OF_ALL else Place(app_id, shard, rest_of_app)

    def name_at(self, place: Place) -> str:
        base = self._base(place.app_id, place.shard) if place.app_id else self.base_of_all("", place.shard)
        return base + place.rest

    # of a shard

    def callbacks(self, app_id: str, shard: int) -> str:
        return f"{self._base(app_id, shard)}callbacks"

    def waiting(self, app_id: str, shard: int) -> str:
        return f"{self._base(app_id, shard)}waiting"

    def writes(self, app_id: str, shard: int) -> str:
        return f"{self._base(app_id, shard)}writes"

    def jobs(self, lane: Lane, shard: int) -> str:
        return f"{self._base(lane.app_id, shard)}jobs:{lane.app}:{lane.channel}"

    def retries(self, lane: Lane, shard: int) -> str:
        return f"{self._base(lane.app_id, shard)}retries:{lane.app}:{lane.channel}"

    def planned(self, app_id: str, message_id: str, shard: int) -> str:
        """The marks of the message for targets whose accounts lie in the shard, where they have a key of their own."""
        return f"{self._base(app_id, shard)}planned:{message_id}"

    def is_on_its_way(self, at_ms: int, ttl_ms: int) -> bool:
        """Marks of that time may lie in buckets, and in keys of their own."""
        return self.marks is not None and at_ms < self.marks.from_ms + 2 * ttl_ms  # planned as late as that

    def marks_of_message(self, app_id: str, message_id: str, shard: int, at_ms: int, ttl_ms: int = 0) -> list[str]:
        """The keys in which its marks for targets in the shard may lie; the first is where they are written.

        `at_ms`: when the callback was accepted of which it is planned. `ttl_ms` 0: the first alone, for whoever knows
        that very callback.
        """
        marks = self.marks
        if marks is None:
            return [self.planned(app_id, message_id, shard)]
        of = marks.digest(app_id, message_id)
        found = marks.places(of, at_ms, ttl_ms, self.base_of_all(app_id, shard))
        if not self.is_on_its_way(at_ms, ttl_ms):
            return found
        return _beside(found, self.planned(app_id, message_id, shard), at_ms < marks.from_ms, ttl_ms)

    def words(self, app_id: str, shard: int, name: bytes) -> str:
        """What many jobs of a message have in common."""
        return f"{self._base(app_id, shard)}words:{name.hex()}"

    def mark_of_target(self, app_id: str, message_ids: Sequence[str], target: str) -> bytes:
        """As marks.lua takes it: what it is called in a key of its own, and of each message in a bucket."""
        apart, marks = target.encode(), self.marks
        if marks is None:
            return apart
        return apart + b"".join([field_of_target(marks.digest(app_id, it), apart) for it in message_ids])

    def marks_of_targets(self, app_id: str, message_id: str, targets: Sequence[str]) -> list[bytes]:
        """The same for many targets of one message."""
        if self.marks is None:
            return [target.encode() for target in targets]
        of = self.marks.digest(app_id, message_id)
        return [(apart := target.encode()) + field_of_target(of, apart) for target in targets]

    def mark_read(
        self, app_id: str, message_id: str, shard: int, target: str, at_ms: int, ttl_ms: int = 0
    ) -> list[tuple[str, bytes]]:
        """Keys and fields where the mark of a target may lie, as `marks_of_message` has it."""
        field = self.mark_of_target(app_id, [message_id], target)
        found = self.marks_of_message(app_id, message_id, shard, at_ms, ttl_ms)
        return [(key, name_in(key, field)) for key in found]

    def dead_letters(self, app_id: str, shard: int) -> str:
        return f"{self._base(app_id, shard)}dead"

    def dead_words_prefix(self, app_id: str, shard: int) -> str:
        return f"{self._base(app_id, shard)}dead-words:"

    def dead_words(self, app_id: str, letter_id: str, shard: int) -> str:
        return self.dead_words_prefix(app_id, shard) + letter_id

    def history_new(self, app_id: str, shard: int) -> str:
        """What was noted of accounts of the shard and is not filed yet."""
        return f"{self._base(app_id, shard)}history:new"

    def history(self, app_id: str, bucket: int, shard: int) -> str:
        return f"{self._base(app_id, shard)}history:{bucket:02x}"

    def moved(self, app_id: str, shard: int, stream: str) -> str:
        """While the store is moved to other shards."""
        return f"{self._base(app_id, shard)}moved:{stream}"

    # of a callback

    def seen(self, app_id: str, callback_id: str) -> str:
        return f"{self._base(app_id, self.shard_of_callback(callback_id))}seen:{callback_id}"

    def marks_of_callback(self, app_id: str, callback_id: str, at_ms: int, ttl_ms: int) -> tuple[list[str], bytes]:
        """The keys in which its mark may lie; the first is where it is written; and the mark."""
        marks = self.marks
        if marks is None:
            return [self.seen(app_id, callback_id)], b""
        of, shard = marks.digest(app_id, callback_id), self.shard_of_callback(callback_id)
        found = marks.places(of, at_ms, ttl_ms, self.base_of_all(app_id, shard))
        if self.is_on_its_way(at_ms, ttl_ms):
            found = _beside(found, self.seen(app_id, callback_id), at_ms < marks.from_ms, ttl_ms)
        return found, field_of_callback(of)

    # of an account

    def unknown(self, lane: Lane, account_name: str) -> str:
        return self._of_account(lane.app_id, f"unknown:{lane.app}:", account_name)

    def account(self, app_id: str, app: str, name: str) -> str:
        return self._of_account(app_id, f"account:{app}:", name)

    def account_of(self, app_id: str, app: str, account_digest: str) -> str:
        base = self._base(app_id, self.shard_of_digest(account_digest))
        return f"{base}account:{app}:{account_digest}"

    def account_prefix(self, app_id: str, app: str, shard: int) -> str:
        return f"{self._base(app_id, shard)}account:{app}:"

    def leftovers(self, app_id: str, app: str, account_digest: str) -> str:
        base = self._base(app_id, self.shard_of_digest(account_digest))
        return f"{base}leftover:{app}:{account_digest}"

    def preferences(self, app_id: str, account_name: str) -> str:
        return self._of_account(app_id, "preferences:", account_name)

    def present(self, app_id: str, account_name: str) -> str:
        return self._of_account(app_id, "present:", account_name)

    def badge(self, app_id: str, account_name: str) -> str:
        return self._of_account(app_id, "badge:", account_name)

    def badge_due(self, app_id: str, account_name: str) -> str:
        return self._of_account(app_id, "badge-due:", account_name)

    def fold(self, app_id: str, account_name: str, line_digest: str) -> str:
        return f"{self._of_account(app_id, 'fold:', account_name)}:{line_digest}"

    def removed_of_account(self, app_id: str, app: str, account_digest: str) -> str:
        base = self._base(app_id, self.shard_of_digest(account_digest))
        return f"{base}aside-of:{app}:{account_digest}"

    # of a conversation on a phone

    def shown(self, lane: Lane, conversation: str) -> str:
        return self._of_conversation("shown", lane, conversation)

    def sent(self, lane: Lane, conversation: str) -> str:
        return self._of_conversation("sent", lane, conversation)

    def conversation_lock(self, lane: Lane, conversation: str) -> str:
        return self._of_conversation("flying", lane, conversation)

    # of a conversation

    def said(self, app_id: str, conversation_digest: str) -> str:
        base = self._base(app_id, self.shard_of_digest(conversation_digest))
        return f"{base}said:{conversation_digest}"

    # of a push token

    def push_token_prefix(self, app_id: str, app: str, platform: str, shard: int) -> str:
        return f"{self._base(app_id, shard)}token:{app}:{platform}:"

    def push_token(self, app_id: str, app: str, platform: str, token: str) -> str:
        return self.push_token_of(app_id, app, platform, digest(token))

    def push_token_of(self, app_id: str, app: str, platform: str, token_digest: str) -> str:
        base = self._base(app_id, self.shard_of_digest(token_digest))
        return f"{base}token:{app}:{platform}:{token_digest}"

    def device_count(self, app_id: str, app: str, platform: str, shard: int) -> str:
        return f"{self._base(app_id, shard)}devices:{app}:{platform}"

    def _base(self, app_id: str, shard: int) -> str:
        base = self._bases.get((app_id, shard))
        if base is None:
            base = f"proxy:{{{self._tags[shard]}}}:{app_id}:" if self.shards else f"proxy:{{{app_id}}}:"
            self._bases[app_id, shard] = base
        return base

    def base_of_all(self, app_id: str, shard: int) -> str:
        """Of what all appIds have together in a shard."""
        return self._bases_of_all[shard] if self.shards else f"proxy:{{{app_id}}}:"

    def _of_account(self, app_id: str, kind: str, account_name: str) -> str:
        of = account_digest(account_name)
        return f"{self._base(app_id, self.shard_of_digest(of))}{kind}{of}"

    def _of_conversation(self, kind: str, lane: Lane, conversation: str) -> str:
        base = self._base(lane.app_id, self.shard_of_digest(conversation))
        return f"{base}{kind}:{lane.app}:{lane.channel}:{conversation}"


def _beside(buckets: list[str], apart: str, is_apart: bool, ttl_ms: int) -> list[str]:
    """On the way from keys of their own to buckets: both places, or where only one is asked the right one."""
    found = [apart, *buckets] if is_apart else [*buckets, apart]
    return found if ttl_ms else found[:1]


# of an appId, whatever the layout


def pause(lane: Lane) -> str:
    return _of("pause", lane)


def probe(lane: Lane) -> str:
    return _of("probe", lane)


def resumed(lane: Lane) -> str:
    return _of("resumed", lane)


def removed(app_id: str, app: str, platform: str) -> str:
    return f"proxy:{{{app_id}}}:forgotten:{app}:{platform}"


def held(app_id: str, app: str, platform: str) -> str:
    return f"proxy:{{{app_id}}}:held:{app}:{platform}"


def reserved(app_id: str, app: str, platform: str) -> str:
    return f"proxy:{{{app_id}}}:reserved:{app}:{platform}"


def removal_guard(app_id: str, app: str, platform: str) -> str:
    return f"proxy:{{{app_id}}}:brake:{app}:{platform}"


def quota(app_id: str, amount: str) -> str:
    return f"proxy:{{{app_id}}}:quota:{amount}"


def quota_of_users(app_id: str, amount: str) -> str:
    return f"proxy:{{{app_id}}}:quota-of-users:{amount}"


def quota_of_account(app_id: str, amount: str, account_name: str) -> str:
    return f"proxy:{{{app_id}}}:quota-of:{amount}:{account_digest(account_name)}"


def ready(app_id: str) -> str:
    return f"proxy:{{{app_id}}}:ready"


# of no appId


def rest_of(push_token_key: str) -> str:
    """Beside the key of a push token's owner."""
    return push_token_key.replace(":token:", ":rest:", 1)


def count_of(push_token_key: str) -> str:
    """Where the push tokens of its app, platform and shard are counted."""
    return push_token_key.replace(":token:", ":devices:", 1).rpartition(":")[0]


def removed_record_of(push_token_key: str) -> str:
    return push_token_key.replace(_OWNER, _REMOVED, 1)


def owner_of(removed_record_key: str) -> str:
    """The key of the push token's owner."""
    return removed_record_key.replace(_REMOVED, _OWNER, 1)


def provider_token(team_id: str, key_id: str, key_pem: bytes) -> str:
    """Another key file, another token: one that a wrong file signed must not outlive its mending."""
    return f"proxy:{{{team_id}}}:provider-token:{key_id}:{digest(key_pem)}"


def identity() -> str:
    return "proxy:{store}:generation"


def clocks() -> str:
    return "proxy:{store}:clocks"


def tokens() -> str:
    return "proxy:{store}:tokens"


def workers() -> str:
    return "proxy:{store}:workers"


def worker_state(instance: str) -> str:
    return f"proxy:{{store}}:worker:{instance}"


def figures(seconds: int, start: int) -> str:
    """Of the span of so many seconds that began then, in seconds since 1970."""
    return f"proxy:{{store}}:figures:{seconds}:{start}"


def blocked_accounts() -> str:
    return "proxy:{blocked}:accounts"


def blocked_session(session_id: str) -> str:
    return f"proxy:{{blocked}}:session:{digest(session_id)}"


def api_keys() -> str:
    return "proxy:{services}:api-keys"


def api_keys_used() -> str:
    return "proxy:{services}:api-keys-used"


def idempotency(name: str) -> str:
    return f"proxy:idempotency:{name}"


def calls(limit: str, caller: str) -> str:
    return f"proxy:limits:{limit}:{digest(caller)}"


def signed_in(account_name: str, network: str) -> str:
    return f"proxy:signed-in:{digest(account_name, network)}"


def _of(kind: str, lane: Lane) -> str:
    return f"proxy:{{{lane.app_id}}}:{kind}:{lane.app}:{lane.channel}"

"""Every key in the store: its type, TTL and writer. Nothing else may make up a key.

Keys that one script touches carry one hash tag, `{appId}`, so that they lie in one slot of a Cluster. Accounts are
users' own names and may hold anything; they and push tokens enter a key as a digest.

    key                                      type    TTL              written by            holds
    proxy:{appId}:callbacks                  stream  until planned    web (accept)          messages not yet planned
    proxy:{appId}:waiting                    zset    until due        worker (plan)         a message for full lanes
    proxy:{appId}:writes                     string  for ever         web, worker           accepted and settled so far
    proxy:{appId}:seen:<callback id>         string  dedupe TTL       web (accept)          this callback is stored
    proxy:{appId}:planned:<message id>       hash    dedupe TTL       worker                each target's alert: where
    proxy:{appId}:said:<d>                   zset    dedupe TTL       worker (plan)         messages by the app's msgId
    proxy:{appId}:jobs:<app>:<channel>       stream  until settled    worker (plan, move)   a lane's jobs
    proxy:{appId}:retries:<app>:<channel>    zset    until due        worker (settle)       jobs by due time, ms
    proxy:{appId}:pause:<app>:<channel>      hash    30 days          worker (deliver)      why it is paused
    proxy:{appId}:probe:<app>:<channel>      string  until due        worker (deliver)      no probe before this is gone
    proxy:{appId}:resumed:<app>:<channel>    string  15 s             worker (deliver)      it was resumed just now
    proxy:{appId}:rest:<app>:<platform>:<d>  string  until over       worker (deliver)      a device takes no more now
    proxy:{appId}:shown:<app>:<channel>:<d>  string  dedupe TTL       worker (settle)       latest alert accepted
    proxy:{appId}:flying:<app>:<channel>:<d> string  one lease        worker (deliver)      its conversation lock
    proxy:{appId}:sent:<app>:<channel>:<d>   string  10 minutes       worker (deliver)      alert that may be shown
    proxy:{appId}:unknown:<app>:<account d>  string  6 h              worker (settle)       Mi Push does not know it
    proxy:{appId}:dead                       stream  capped           worker (settle)       dead letters
    proxy:{appId}:dead-words:<letter id>     string  dedupe TTL       worker (settle)       its record with the words
    proxy:{appId}:account:<app>:<account d>  hash    400 days         web (devices)         registration by device
    proxy:{appId}:preferences:<account d>    string  400 days         web (preferences)     mutes, quiet hours, preview
    proxy:{appId}:present:<account d>        string  alerts.present_s web (tokens)          it fetched a token just now
    proxy:{appId}:badge:<account d>          hash    7 days           worker, web           unread, by conversation
    proxy:{appId}:badge-due:<account d>      string  5 s              worker, web           its phones will be told
    proxy:{appId}:fold:<account d>:<d>       hash    see below        worker                alerts told together
    proxy:{appId}:token:<app>:<platform>:<d> hash    400 days         web (devices)         the push token's owner
    proxy:{appId}:forgotten:<app>:<platform> zset    7 days           worker (deliver)      removed devices, by ms
    proxy:{appId}:aside:<app>:<platform>:<d> hash    7 days           worker (deliver)      a removed registration
    proxy:{appId}:aside-of:<app>:<account d> hash    7 days           worker (deliver)      an account's, by device
    proxy:{appId}:held:<app>:<platform>      zset    1 hour           worker (deliver)      kept by the guard, by ms
    proxy:{appId}:brake:<app>:<platform>     hash    1 day            worker (deliver), cli the removal guard
    proxy:{<team>}:provider-token:<id>:<d>   string  1 hour           worker (deliver), cli the key's JWT for APNs
    ...:signing                              string  5 s              worker (deliver)      the lock of who signs it
    proxy:{appId}:history:new                stream  10 minutes       worker, web           how messages ended
    proxy:{appId}:history:<bucket>           stream  7 days           worker (file)         the same, by account
    proxy:{appId}:ready                      string  1 minute         web (health)          can the store be written?
    proxy:{store}:generation                 hash    for ever         web, worker           which store this is, loss
    proxy:{store}:clocks                     hash    1 hour           web, worker           clocks that are wrong
    proxy:{store}:tokens                     hash    1 hour           web (tokens)          does MIMC give tokens?
    proxy:{store}:workers                    zset    1 day            worker                its last word, by ms
    proxy:{store}:worker:<instance>          string  15 s             worker                what it says of itself
    proxy:{blocked}:accounts                 set     until lifted     web, cli              digests of blocked accounts
    proxy:{blocked}:session:<d>              string  the session's    web (sign-out)        this session has ended
    proxy:limits:<limit>:<d>                 string  two windows      web (admit)           calls of this caller
    proxy:signed-in:<d>                      string  90 days          web (sign-in)         account signed in from here

Preferences live on from each time that they are set or read, or a device of the account is registered.
The owner of a device's first push token also names those of its fallbacks, as "others".
What deliver writes of removed devices, the guard and unknown accounts, the web writes too, where a receipt says so.
What lives until it is planned, settled or due has a cap instead: callbacks and those that wait together one, a lane's
jobs and retries together one. The history has a cap in bytes too, of all its streams: `alerts.history_max_bytes`.
<d> of limits and signed-in: the digest of an account, an address, or both. An account's counter, the blocked accounts,
its sessions' marks and its unknown marks are one script's keys (admit.lua): with shards they will lie under its tag.
<d> of said: a group, or a talk and its reader; with alerts.withdraw alone. A field of planned is "1", and what
withdraw.lua says from then on; an earlier program asks whether it is there.
<d> of fold: a target and conversation; it lives as long as alerts may fold into it (alerts.fold_s, and the life of what
was folded).
<d> of shown, flying and sent: a target and conversation on a channel whose alerts replace each other on the phone.
Some words are older than ours: forgotten, aside (removed devices), brake (removal guard), flying (conversation lock).
"""

from proxy.domain.callbacks import account_digest, digest
from proxy.domain.lanes import Lane

GROUP = "workers"
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


def jobs(lane: Lane) -> str:
    return _of("jobs", lane)


def retries(lane: Lane) -> str:
    return _of("retries", lane)


def pause(lane: Lane) -> str:
    return _of("pause", lane)


def probe(lane: Lane) -> str:
    return _of("probe", lane)


def resumed(lane: Lane) -> str:
    return _of("resumed", lane)


def rest_of(push_token_key: str) -> str:
    """Beside the key of a push token's owner."""
    return push_token_key.replace(":token:", ":rest:", 1)


def shown(lane: Lane, conversation: str) -> str:
    return f"{_of('shown', lane)}:{conversation}"


def sent(lane: Lane, conversation: str) -> str:
    return f"{_of('sent', lane)}:{conversation}"


def conversation_lock(lane: Lane, conversation: str) -> str:
    return f"{_of('flying', lane)}:{conversation}"


def unknown(lane: Lane, account_name: str) -> str:
    return f"proxy:{{{lane.app_id}}}:unknown:{lane.app}:{account_digest(account_name)}"


def callbacks(app_id: str) -> str:
    return f"proxy:{{{app_id}}}:callbacks"


def waiting(app_id: str) -> str:
    return f"proxy:{{{app_id}}}:waiting"


def writes(app_id: str) -> str:
    return f"proxy:{{{app_id}}}:writes"


def seen(app_id: str, callback_id: str) -> str:
    return f"proxy:{{{app_id}}}:seen:{callback_id}"


def planned(app_id: str, message_id: str) -> str:
    return f"proxy:{{{app_id}}}:planned:{message_id}"


def said(app_id: str, conversation_digest: str) -> str:
    return f"proxy:{{{app_id}}}:said:{conversation_digest}"


def dead_letters(app_id: str) -> str:
    return f"proxy:{{{app_id}}}:dead"


def dead_words_prefix(app_id: str) -> str:
    return f"proxy:{{{app_id}}}:dead-words:"


def dead_words(app_id: str, letter_id: str) -> str:
    return dead_words_prefix(app_id) + letter_id


def account_prefix(app_id: str, app: str) -> str:
    return f"proxy:{{{app_id}}}:account:{app}:"


def account(app_id: str, app: str, name: str) -> str:
    return account_prefix(app_id, app) + account_digest(name)


def preferences_prefix(app_id: str) -> str:
    return f"proxy:{{{app_id}}}:preferences:"


def preferences(app_id: str, account_name: str) -> str:
    return preferences_prefix(app_id) + account_digest(account_name)


def present_prefix(app_id: str) -> str:
    return f"proxy:{{{app_id}}}:present:"


def present(app_id: str, account_name: str) -> str:
    return present_prefix(app_id) + account_digest(account_name)


def badge(app_id: str, account_name: str) -> str:
    return f"proxy:{{{app_id}}}:badge:{account_digest(account_name)}"


def badge_due(app_id: str, account_name: str) -> str:
    return f"proxy:{{{app_id}}}:badge-due:{account_digest(account_name)}"


def fold(app_id: str, account_name: str, line_digest: str) -> str:
    return f"proxy:{{{app_id}}}:fold:{account_digest(account_name)}:{line_digest}"


def push_token_prefix(app_id: str, app: str, platform: str) -> str:
    return f"proxy:{{{app_id}}}:token:{app}:{platform}:"


def push_token(app_id: str, app: str, platform: str, token: str) -> str:
    return push_token_prefix(app_id, app, platform) + digest(token)


def removed(app_id: str, app: str, platform: str) -> str:
    return f"proxy:{{{app_id}}}:forgotten:{app}:{platform}"


def removed_registration(app_id: str, app: str, platform: str, token: str) -> str:
    return f"proxy:{{{app_id}}}:aside:{app}:{platform}:{digest(token)}"


def removed_of_account(app_id: str, app: str, name: str) -> str:
    return f"proxy:{{{app_id}}}:aside-of:{app}:{account_digest(name)}"


def held(app_id: str, app: str, platform: str) -> str:
    return f"proxy:{{{app_id}}}:held:{app}:{platform}"


def removal_guard(app_id: str, app: str, platform: str) -> str:
    return f"proxy:{{{app_id}}}:brake:{app}:{platform}"


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


def blocked_accounts() -> str:
    return "proxy:{blocked}:accounts"


def blocked_session(session_id: str) -> str:
    return f"proxy:{{blocked}}:session:{digest(session_id)}"


def calls(limit: str, caller: str) -> str:
    return f"proxy:limits:{limit}:{digest(caller)}"


def signed_in(account_name: str, network: str) -> str:
    return f"proxy:signed-in:{digest(account_name, network)}"


def history_new(app_id: str) -> str:
    """What was noted and is not filed yet."""
    return f"proxy:{{{app_id}}}:history:new"


def history(app_id: str, bucket: int) -> str:
    return f"proxy:{{{app_id}}}:history:{bucket:02x}"


def ready(app_id: str) -> str:
    return f"proxy:{{{app_id}}}:ready"


def _of(kind: str, lane: Lane) -> str:
    return f"proxy:{{{lane.app_id}}}:{kind}:{lane.app}:{lane.channel}"

"""MIMC's HTTP API besides the token call: one row for each call. Pure data.

A row says what a call is to MIMC, whose account acts in it, and which scope of an API key allows it. To read or
add one takes no other place: routes, requests, limits, tests and docs/openapi.yaml are made from the rows.
Source: MIMC operation manual (push, topic, history); newer calls as MIMC's own clients make them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import partial

from proxy.domain.api_keys import Scope
from proxy.domain.quotas import Amount


class Family(StrEnum):
    """What `apps.x.api` lists."""

    PUSH = "push"
    TOPIC = "topic"
    HISTORY = "history"
    CONTACTS = "contacts"
    UCTOPIC = "uctopic"


class Form(StrEnum):
    """What a member is. An id or a number may come as text or as a whole number."""

    TEXT = "a string"
    ID = "an id: digits, as a string or a number"
    NUMBER = "a whole number, as a string or a number"
    FLAG = "true or false"
    TEXTS = "an array of strings"
    IDS = "an array of ids"
    ACCOUNTS = "accounts joined by commas, or an array of them"
    CODING = 'a string: "" or "base64"'
    PAYLOAD = "a string of at most 15360 bytes, before base64"
    PAYLOADS = "an array of strings of at most 15360 bytes, before base64"


class Actor(Enum):
    """Where MIMC reads whose call it is."""

    FROM_ACCOUNT = "fromAccount"  # a member of the body
    ACCOUNT = "account"  # the same
    ONE_OF_TWO = "fromAccount or toAccount"  # one of these members must be the caller's; nothing is filled in
    CREDENTIALS = "credentials"  # whose token it is, or the header appAccount


class Proof(Enum):
    """How MIMC wants to be shown that the call is allowed."""

    BODY = "body"  # appId, appKey, appSecret as members
    HEADERS = "headers"  # the user's own token; for a service appKey, appSecret and appAccount
    TOKEN = "token"  # noqa: S105  the user's own token alone: no call for a service


@dataclass(frozen=True, kw_only=True)
class Call:
    """`path` as MIMC documents it, with <app_id> and <topic_id> where they stand; a client may leave out or add the
    slash at its end.

    `members` of the body and `query` of the path that are looked at, `headers` that are passed on as they come; other
    members and parameters go along unseen. `scope` None: no service may make it. `counted_by`: the member whose length
    is the amount. `names_app`: the body says which app, as it does where it holds the credentials.
    """

    name: str
    family: Family
    method: str
    path: str
    does: str
    proof: Proof = Proof.HEADERS
    actor: Actor = Actor.CREDENTIALS
    scope: Scope | None = None
    changes: bool = True
    members: Mapping[str, Form] = field(default_factory=dict)
    query: Mapping[str, Form] = field(default_factory=dict)
    headers: Mapping[str, Form] = field(default_factory=dict)
    amount: Amount | None = None
    counted_by: str | None = None
    names_app: bool = False
    documented: bool = True  # in a text of MIMC's; else one old client alone makes it


MOST_PAYLOAD = 15_360  # bytes; MIMC's clients since 2019
CREDENTIALS = frozenset({"appKey", "appSecret", "token", "appAccount", "appAccountEncode"})  # never a client's

_LONGER_PATH = ("v2/", "multiupdate/", "batchupdate/")
_PUSH: Mapping[str, Form] = {
    "fromAccount": Form.TEXT, "fromResource": Form.TEXT, "msgType": Form.CODING, "bizType": Form.TEXT,
    "isStore": Form.FLAG,
}  # fmt: skip
_TOPIC_ID: Mapping[str, Form] = {"topicId": Form.ID}
_TOPIC_IDS: Mapping[str, Form] = {"topicIds": Form.IDS}
_BLACK: Mapping[str, Form] = {"blackAccount": Form.TEXT}
_MSG: Mapping[str, Form] = {"msg": Form.PAYLOAD}
_MESSAGE: Mapping[str, Form] = {"message": Form.PAYLOAD}
_TWO: Mapping[str, Form] = {"fromAccount": Form.TEXT, "toAccount": Form.TEXT}
_ONE: Mapping[str, Form] = {"account": Form.TEXT, "topicId": Form.ID}
_FILTERS: Mapping[str, Form] = {"bizType": Form.TEXT, "extra": Form.TEXT}
_TIMES: Mapping[str, Form] = {"utcFromTime": Form.NUMBER, "utcToTime": Form.NUMBER}
_COUNT: Mapping[str, Form] = {"utcToTime": Form.NUMBER, "count": Form.NUMBER}
_SEQUENCES: Mapping[str, Form] = {"startSeq": Form.NUMBER, "stopSeq": Form.NUMBER}
_EXTRA: Mapping[str, Form] = {"sequence": Form.ID, "extra": Form.TEXT}
_ONE_EXTRA: Mapping[str, Form] = {"sequence": Form.ID, "extraKey": Form.TEXT, "extraValue": Form.TEXT}

_push = partial(
    Call, family=Family.PUSH, method="POST", proof=Proof.BODY, actor=Actor.FROM_ACCOUNT, scope=Scope.PUSH_SEND
)
_topic = partial(Call, family=Family.TOPIC, scope=Scope.TOPICS_ADMIN)
_reads = partial(
    Call, family=Family.HISTORY, method="POST", scope=Scope.HISTORY_READ, changes=False, does="messages that MIMC keeps"
)
_notes = partial(Call, family=Family.HISTORY, method="POST", does="changes what is kept beside messages")
_contact = partial(Call, family=Family.CONTACTS, proof=Proof.TOKEN)
_uctopic = partial(Call, family=Family.UCTOPIC, scope=Scope.TOPICS_ADMIN)


def _history(of: str, actor: Actor, whose: Mapping[str, Form]) -> Iterable[Call]:
    """`of`: p2p, p2t, or p2u for unlimited groups."""
    reads = {"query/": _TIMES, "queryOnTime/": _TIMES, "queryOnCount/": _COUNT}
    notes = {}
    if of != "p2u":
        reads |= {"queryOnSequence/": _SEQUENCES, "queryOnCount/v2/": _COUNT}
        notes = {"extra/update": _EXTRA, "extra/multiupdate/": {}, "extra/update/v2/": _ONE_EXTRA}
        notes |= {"extra/batchupdate/": {}}
    for row, paths in ((_reads, reads), (_notes, notes)):
        for rest, members in paths.items():
            yield row(
                name=f"history {of} {rest.rstrip('/')}", path=f"/api/msg/{of}/{rest}", actor=actor,
                members={**whose, **members, **(_FILTERS if row is _reads else {})},
                documented=not rest.endswith(_LONGER_PATH),
            )  # fmt: skip


CALLS: tuple[Call, ...] = (
    _push(
        name="push p2p", path="/api/push/p2p/", does="a message to one account", amount=Amount.PERSONAL,
        members={**_PUSH, "toAccount": Form.TEXT, **_MSG},
    ),
    _push(
        name="push p2p more", path="/api/push/p2p/more", does="a message to several accounts", amount=Amount.PERSONAL,
        members={**_PUSH, "toAccounts": Form.TEXTS, **_MSG}, counted_by="toAccounts",
    ),
    _push(
        name="push p2t", path="/api/push/p2t/", does="a message to a group", amount=Amount.GROUP,
        members={**_PUSH, **_TOPIC_ID, **_MSG},
    ),
    _push(
        name="push p2t more", path="/api/push/p2t/more", does="a message to several groups", amount=Amount.GROUP,
        members={**_PUSH, **_TOPIC_IDS, **_MSG}, counted_by="topicIds",
    ),
    _push(
        name="push ucs single", path="/api/push/ucs/singleMsgPush/", does="a message to an unlimited group",
        members={**_PUSH, **_TOPIC_ID, **_MESSAGE}, amount=Amount.UNLIMITED_GROUP, documented=False,
    ),
    _push(
        name="push ucs multi", path="/api/push/ucs/multiMsgPush/", does="several messages to an unlimited group",
        members={**_PUSH, **_TOPIC_ID, "messages": Form.PAYLOADS}, amount=Amount.UNLIMITED_GROUP,
        counted_by="messages", documented=False,
    ),
    _push(
        name="push ucs topics", path="/api/push/ucs/multiTopicPush/", does="a message to several unlimited groups",
        members={**_PUSH, **_TOPIC_IDS, **_MESSAGE}, amount=Amount.UNLIMITED_GROUP, counted_by="topicIds",
        documented=False,
    ),
    _topic(
        name="topic create", method="POST", path="/api/topic/<app_id>", does="makes a group that the caller owns",
        members={"topicName": Form.TEXT, "accounts": Form.ACCOUNTS, "extra": Form.TEXT},
    ),
    _topic(
        name="topic query", method="GET", path="/api/topic/<app_id>/<topic_id>", does="a group and its members",
        changes=False,
    ),
    _topic(
        name="topic list", method="GET", path="/api/topic/<app_id>/account", does="the caller's groups", changes=False
    ),
    _topic(
        name="topic invite", method="POST", path="/api/topic/<app_id>/<topic_id>/accounts", does="adds members",
        members={"accounts": Form.ACCOUNTS},
    ),
    _topic(
        name="topic leave", method="DELETE", path="/api/topic/<app_id>/<topic_id>/account", does="the caller leaves"
    ),
    _topic(
        name="topic kick", method="DELETE", path="/api/topic/<app_id>/<topic_id>/accounts",
        does="the owner removes members", query={"accounts": Form.ACCOUNTS},
    ),
    _topic(
        name="topic update", method="PUT", path="/api/topic/<app_id>/<topic_id>",
        does="another name, bulletin or owner",
        members={"ownerAccount": Form.TEXT, "topicName": Form.TEXT, "bulletin": Form.TEXT, "extra": Form.TEXT},
    ),
    _topic(
        name="topic destroy", method="DELETE", path="/api/topic/<app_id>/<topic_id>", does="the owner ends the group"
    ),
    *_history("p2p", Actor.ONE_OF_TWO, _TWO),
    *_history("p2t", Actor.ACCOUNT, _ONE),
    *_history("p2u", Actor.ACCOUNT, _ONE),
    _contact(
        name="contacts", method="GET", path="/api/contact/", does="with whom the caller wrote last", changes=False
    ),
    _contact(
        name="contacts v2", method="GET", path="/api/contact/v2/", does="the same with extras", changes=False,
        query={"msgExtraFlag": Form.TEXT}, documented=False,
    ),
    _contact(
        name="contact p2p remove", method="DELETE", path="/api/contact/p2p/session",
        does="takes an account off the list", query={"member": Form.TEXT},
    ),
    _contact(
        name="contact p2t remove", method="DELETE", path="/api/contact/p2t/session", does="takes a group off the list",
        query=_TOPIC_ID,
    ),
    _contact(
        name="contact p2p extra", method="POST", path="/api/contact/p2p/extra/update",
        does="changes what is kept beside a contact", members={"account": Form.TEXT, "extra": Form.TEXT},
        documented=False,
    ),
    _contact(
        name="contact p2t extra", method="POST", path="/api/contact/p2t/extra/update",
        does="changes what is kept beside a group", members={**_TOPIC_ID, "extra": Form.TEXT}, documented=False,
    ),
    _contact(
        name="blacklist add", method="POST", path="/api/blacklist/", does="the caller blocks an account", members=_BLACK
    ),
    _contact(
        name="blacklist remove", method="DELETE", path="/api/blacklist/", does="the caller no longer blocks it",
        query=_BLACK,
    ),
    _contact(
        name="blacklist query", method="GET", path="/api/blacklist/", does="is this account blocked?", query=_BLACK,
        changes=False,
    ),
    _contact(
        name="topicblacklist add", method="POST", path="/api/topicblacklist/", does="blocks an account in a group",
        members={**_BLACK, "blackTopicId": Form.ID}, documented=False,
    ),
    _contact(
        name="topicblacklist remove", method="DELETE", path="/api/topicblacklist/<topic_id>/blackAccount",
        does="no longer blocks it there", query=_BLACK, documented=False,
    ),
    _contact(
        name="topicblacklist query", method="GET", path="/api/topicblacklist/<topic_id>/blackAccount",
        does="is it blocked there?", query=_BLACK, changes=False, documented=False,
    ),
    _contact(
        name="presence", method="POST", path="/api/account/status", does="which accounts are online", changes=False,
        proof=Proof.HEADERS, scope=Scope.PRESENCE_READ, members={"accounts": Form.ACCOUNTS}, names_app=True,
    ),
    _uctopic(
        name="uctopic create", method="POST", path="/api/uctopic", does="makes an unlimited group",
        members={"topicName": Form.TEXT, "extra": Form.TEXT},
    ),
    _uctopic(
        name="uctopic destroy", method="DELETE", path="/api/uctopic", does="the owner ends it", headers=_TOPIC_ID
    ),
    _uctopic(
        name="uctopic list", method="GET", path="/api/uctopic/topics", does="the caller's unlimited groups",
        changes=False,
    ),
    _uctopic(
        name="uctopic members", method="GET", path="/api/uctopic/userlist", does="who is in it now", changes=False,
        headers={**_TOPIC_ID, "startUuid": Form.ID},
    ),
    _uctopic(
        name="uctopic online", method="GET", path="/api/uctopic/onlineinfo", does="how many are in it now",
        changes=False, headers=_TOPIC_ID,
    ),
    _uctopic(
        name="uctopic query", method="GET", path="/api/uctopic/topic", does="what it is", changes=False,
        headers=_TOPIC_ID, documented=False,
    ),
    _uctopic(
        name="uctopic update", method="POST", path="/api/uctopic/update", does="another name, owner or extra",
        members={**_TOPIC_ID, "topicName": Form.TEXT, "ownerAccount": Form.TEXT, "extra": Form.TEXT},
        documented=False,
    ),
)  # fmt: skip


def folders_of(families: Iterable[str]) -> tuple[str, ...]:
    """What the paths of their calls begin with; no route of ours does."""
    return tuple(sorted({call.path.partition("<")[0].rstrip("/") for call in CALLS if call.family in families}))

"""The messages of a run, how MIMC announced them, and who read or recalled them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_OFFLINE = frozenset({"OFFLINE_MSG", "OFFLINE_TOPIC_MSG"})


class Message(NamedTuple):
    """`has_id`: its payload has an id of the app's own, by which others may name it."""

    word: str
    app: str
    sender: str
    conversation: str
    sequence: int | None
    sent_at_ms: int
    has_id: bool = True

    def is_later_than(self, other: "Message") -> bool:
        """By MIMC's sequence; where one has none, as in the old form, by the time of sending."""
        if self.sequence is not None and other.sequence is not None:
            return self.sequence > other.sequence
        return self.sent_at_ms > other.sent_at_ms


class Callback(NamedTuple):
    """One body that names people whom the message did not reach, with all of its posts.

    `recipients` maps accounts to the logins that missed it, none named: all. `first_asked_ms` is of any post,
    `accepted_ms` the first answer with 200 (None: there was none), `last_accepted_asked_ms` the last post that got one,
    `stored_by_ms` the last answer after which it may have been new to the store: all but a 200 for a duplicate, the
    first 200 among them, for the service may have asked the store twice.
    """

    word: str
    recipients: Mapping[str, frozenset[str]]
    first_asked_ms: int
    accepted_ms: int | None
    last_accepted_asked_ms: int
    asked_ms: tuple[int, ...]
    stored_by_ms: int

    @property
    def posts(self) -> int:
        return len(self.asked_ms)


class Notice(NamedTuple):
    """One READ or RECALL of the message with this word, with all of its posts; the times are as in Callback."""

    word: str
    why: str
    by: str
    recipients: frozenset[str]
    first_asked_ms: int
    accepted_ms: int | None


def read_messages(events: Iterable[Mapping[str, Any]]) -> dict[str, Message]:
    """By word. A message of the old form has no sequence on the wire."""
    old = {event["word"] for event in events if event["event"] == "posted" and event["form"] == "old"}
    return {
        event["word"]: Message(
            event["word"], event["app"], event["sender"], event["conversation"],
            None if event["word"] in old else event["sequence"], event["sent_at_ms"],
            event.get("has_id", True),
        )
        for event in events if event["event"] == "message"
    }  # fmt: skip


def read_callbacks(events: Iterable[Mapping[str, Any]]) -> list[Callback]:
    """Those that may alert readers. Equal bodies are one, whatever their numbers."""
    posts: dict[tuple[str, str, frozenset[tuple[str, frozenset[str]]]], list[Mapping[str, Any]]] = {}
    for event in events:
        if event["event"] == "posted" and event["kind"] in _OFFLINE:
            resources = event.get("resources") or {}
            recipients = {name: frozenset(resources.get(name, ())) for name in event["recipients"]}
            posts.setdefault((event["word"], event["kind"], frozenset(recipients.items())), []).append(event)
    return [_callback(word, dict(recipients), found) for (word, _, recipients), found in posts.items()]


def _callback(word: str, recipients: Mapping[str, frozenset[str]], posts: list[Mapping[str, Any]]) -> Callback:
    good = [post for post in posts if post["status"] == 200]
    # by identity: two posts that came and were answered in the same milliseconds are equal
    may_be_new = [post for post in posts if post["status"] != 200 or not post["duplicate"] or post is good[0]]
    return Callback(
        word=word,
        recipients=recipients,
        first_asked_ms=min(post["asked_ms"] for post in posts),
        accepted_ms=min((post["ms"] for post in good), default=None),
        last_accepted_asked_ms=max((post["asked_ms"] for post in good), default=0),
        asked_ms=tuple(sorted(post["asked_ms"] for post in posts)),
        stored_by_ms=max(post["ms"] for post in may_be_new),
    )


def read_notices(events: Iterable[Mapping[str, Any]]) -> list[Notice]:
    """By their numbers: each has a body of its own."""
    posts: dict[int, list[Mapping[str, Any]]] = {}
    for event in events:
        if event["event"] == "notice":
            posts.setdefault(event["callback"], []).append(event)
    return [
        Notice(
            of[0]["word"], of[0]["why"], of[0]["by"], frozenset(of[0]["recipients"]),
            min(post["asked_ms"] for post in of),
            min((post["ms"] for post in of if post["status"] == 200), default=None),
        )
        for of in posts.values()
    ]  # fmt: skip

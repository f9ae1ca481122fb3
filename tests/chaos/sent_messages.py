"""What was said, and how MIMC announced it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_OFFLINE = frozenset({"OFFLINE_MSG", "OFFLINE_TOPIC_MSG"})


class Message(NamedTuple):
    word: str
    app: str
    sender: str
    conversation: str
    sequence: int | None
    sent_at_ms: int

    def is_later_than(self, other: "Message") -> bool:
        """By MIMC's sequence; where one has none, as in the old form, by the time of sending."""
        if self.sequence is not None and other.sequence is not None:
            return self.sequence > other.sequence
        return self.sent_at_ms > other.sent_at_ms


class Callback(NamedTuple):
    """One body that names people whom the message did not reach, with all of its posts.

    `recipients` maps accounts to the logins that missed it, none named: all. `first_asked_ms` is of any post,
    `accepted_ms` the first answer with 200 (None: there was none), `last_accepted_asked_ms` the last post that got one.
    """

    word: str
    recipients: Mapping[str, frozenset[str]]
    first_asked_ms: int
    accepted_ms: int | None
    last_accepted_asked_ms: int
    asked_ms: tuple[int, ...]

    @property
    def posts(self) -> int:
        return len(self.asked_ms)


def read_messages(events: Iterable[Mapping[str, Any]]) -> dict[str, Message]:
    """By word. A message of the old form has no sequence on the wire."""
    old = {it["word"] for it in events if it["event"] == "posted" and it["form"] == "old"}
    return {
        it["word"]: Message(
            it["word"], it["app"], it["sender"], it["conversation"],
            None if it["word"] in old else it["sequence"], it["sent_at_ms"],
        )
        for it in events if it["event"] == "message"
    }  # fmt: skip


def read_callbacks(events: Iterable[Mapping[str, Any]]) -> list[Callback]:
    """Those that may alert somebody. Equal bodies are one, whatever their numbers."""
    posts: dict[tuple[str, str, frozenset[tuple[str, frozenset[str]]]], list[Mapping[str, Any]]] = {}
    for it in events:
        if it["event"] == "posted" and it["kind"] in _OFFLINE:
            resources = it.get("resources") or {}
            recipients = {name: frozenset(resources.get(name, ())) for name in it["recipients"]}
            posts.setdefault((it["word"], it["kind"], frozenset(recipients.items())), []).append(it)
    return [_callback(word, dict(recipients), found) for (word, _, recipients), found in posts.items()]


def _callback(word: str, recipients: Mapping[str, frozenset[str]], posts: list[Mapping[str, Any]]) -> Callback:
    good = [it for it in posts if it["status"] == 200]
    return Callback(
        word=word,
        recipients=recipients,
        first_asked_ms=min(it["asked_ms"] for it in posts),
        accepted_ms=min((it["ms"] for it in good), default=None),
        last_accepted_asked_ms=max((it["asked_ms"] for it in good), default=0),
        asked_ms=tuple(sorted(it["asked_ms"] for it in posts)),
    )

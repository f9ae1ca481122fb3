"""How an app's messages are read, and the words for them, from its settings."""

from collections.abc import Mapping

from proxy.domain.kinds import KNOWN_TYPES, Kind, Rule, rule_of
from proxy.domain.lanes import Lane
from proxy.domain.messages import MessageReading, Path
from proxy.domain.previews import Preview
from proxy.domain.words import FOLD_ONE, Vocabulary
from proxy.settings import MessageSettings, Settings, TypeSettings


def reading_of(messages: MessageSettings, *, tells_sender: bool = False) -> MessageReading:
    """The app's own types come before those that every app is known to use. `tells_sender`: iPhones hear who writes."""
    own = {name.upper(): _rule(name.upper(), its) for name, its in messages.types.items()}
    return MessageReading(
        type=_paths(messages.type),
        text=_paths(messages.text),
        sender_name=_paths(messages.sender_name),
        group_name=_paths(messages.group_name),
        message_id=_paths(messages.message_id),
        mentions=_paths(messages.mentions),
        avatar=_paths(messages.sender_avatar) if tells_sender else (),
        tells_sender=tells_sender,
        rules=KNOWN_TYPES | own,
    )


def vocabulary_of(messages: MessageSettings) -> Vocabulary:
    """Our words, and over them the app's own for kinds and for its types."""
    own: dict[str, dict[str, str]] = {}
    for language, words in messages.words.items():
        own[language] = {kind: text for kind, text in words.model_dump().items() if text is not None}
        if words.fold:  # not another language's
            own[language].setdefault(FOLD_ONE, words.fold)
    for name, its in messages.types.items():
        for language, text in _by_language(its, messages.language).items():
            spelled = next((known for known in own if known.lower() == language.lower()), language)
            own.setdefault(spelled, {})[name.upper()] = text
    return Vocabulary(messages.language, own, Preview(messages.preview))


def reading_of_app(settings: Settings, app_id: str) -> MessageReading:
    """A message is read once for all sections of its appId, which agree about it."""
    sections = [app for app in settings.apps.values() if app.app_id == app_id]
    tells_sender = any(section.apns and section.apns.communication for section in sections)
    return reading_of(sections[0].messages, tells_sender=tells_sender)


def preview_of(lane: Lane, settings: Settings) -> Preview:
    return Preview(settings.apps[lane.app].messages.preview)


def _rule(name: str, its: TypeSettings) -> Rule:
    usual = rule_of(Kind(its.kind), f"messages.types.{name}")
    return Rule(
        kind=name if its.words else usual.kind,
        silent=usual.silent if its.silent is None else its.silent,
        urgent=usual.urgent if its.urgent is None else its.urgent,
        expiry=usual.expiry if its.expiry is None else its.expiry,
        source=usual.source,
    )


def _by_language(its: TypeSettings, default: str) -> Mapping[str, str]:
    """Words in one language alone are those of all others, too."""
    if isinstance(its.words, str):
        return {default: its.words}
    return its.words or {}


def _paths(dotted: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(tuple(path.split(".")) for path in dotted)

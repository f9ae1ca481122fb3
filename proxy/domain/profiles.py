"""Names that a payload lacks, and the developer's server knows: of who writes, and of the group."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from proxy.domain.messages import MAX_TITLE, Content, avatar_address, clean

_GROUP = "topic:"


class Question(NamedTuple):
    """Whose names are wanted. `group`: the id of the group that they write in, "" where two people talk."""

    account: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of them, cleaned as texts are; "" where something is not. `avatar` is an https address."""

    name: str = field(default="", repr=False)
    group_name: str = field(default="", repr=False)
    avatar: str = field(default="", repr=False)


NOT_KNOWN = Profile()


def question_about(sender: str, conversation: str, content: Content) -> Question | None:
    """None where the payload has all names that an alert shows."""
    group = conversation.removeprefix(_GROUP) if conversation.startswith(_GROUP) else ""
    if content.sender_name and (content.group_name or not group):
        return None
    return Question(sender, group)


def named(content: Content, profile: Profile) -> Content:
    """The content with the names that it lacks; those of the payload stay."""
    return replace(
        content,
        sender_name=content.sender_name or profile.name,
        group_name=content.group_name or profile.group_name,
        avatar=content.avatar or (profile.avatar if content.tells_sender else ""),
    )


def profile_of(name: object, group_name: object, avatar: object) -> Profile:
    """From whatever the answer has there: what is no text is as good as none."""
    return Profile(_name(name), _name(group_name), avatar_address(avatar) if isinstance(avatar, str) else "")


def _name(value: object) -> str:
    return clean(value, MAX_TITLE) if isinstance(value, str) else ""

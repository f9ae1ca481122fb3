"""How much of a message a lock screen may show."""

from enum import StrEnum


class Preview(StrEnum):
    """Text and names; names alone; or only that there is a message."""

    FULL = "full"
    SENDER = "sender"
    NONE = "none"


_STRICTNESS = {preview: place for place, preview in enumerate(Preview)}


def strictest(*previews: Preview) -> Preview:
    """The one that shows least. The app, the account and the device each have a say, and none can loosen another's."""
    return max(previews, key=_STRICTNESS.__getitem__)

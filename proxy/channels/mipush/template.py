"""What a MiPush template is filled with: words without emoji, for the service refuses whole messages over one.

Source: Xiaomi push, private message templates (2026-06-02): a value has 1 to 128 characters, not only blanks, none of
category So and none unassigned; names and number of the variables are exactly the template's.
"""

import unicodedata
from collections.abc import Mapping

from proxy.channels.common import to_json
from proxy.domain.alerts import AlertText
from proxy.settings import TemplateSettings
from proxy.text import ZERO_WIDTH_JOINER, cut, is_blank, utf16_units

FALLBACK = "[message]"
LONGEST_VALUE = 128
# symbols, unassigned, private, surrogates, controls; and skin tones (Sk), but not the ^ and ` of every keyboard
_REFUSED = frozenset({"So", "Cn", "Co", "Cs", "Cc", "Sk"})
# what stays of an emoji when its symbols are gone
_JOINER_AND_KEYCAP = frozenset({ZERO_WIDTH_JOINER, "\u20e3"})
_VARIATION_SELECTORS_AND_TAGS = (("\ufe00", "\ufe0f"), ("\U000e0020", "\U000e007f"), ("\U000e0100", "\U000e01ef"))


def template_param(template: TemplateSettings, text: AlertText, group: str, longest_value: int = LONGEST_VALUE) -> str:
    """The variables as JSON text, of what `text` says. `group`: what is said for the group; "": the fallback."""
    texts = {"sender": text.title, "text": text.body, "group": group}
    values: Mapping[str, str] = {
        variable: clean(texts[source], template.fallback, longest_value)
        for variable, source in template.variables.items()
    }
    return to_json(values).decode()


def clean(text: str, fallback: str, longest: int = LONGEST_VALUE) -> str:
    """The text as a template takes it, the fallback cleaned likewise where nothing is left, at last "[message]"."""
    for candidate in (text, fallback):
        # words apart again with one blank: what was between them may be gone
        kept = " ".join("".join(map(_kept, candidate)).split())
        if not is_blank(kept):
            return cut(kept, longest, utf16_units)
    return FALLBACK


def _kept(code_point: str) -> str:
    if code_point.isspace():
        return " "
    if code_point in _JOINER_AND_KEYCAP or (unicodedata.category(code_point) in _REFUSED and code_point not in "^`"):
        return ""
    return "" if any(first <= code_point <= last for first, last in _VARIATION_SELECTORS_AND_TAGS) else code_point

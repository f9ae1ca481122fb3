"""The developer's server of names in its own words. docs/profiles.md is the contract with it."""

from datetime import datetime

from proxy.compact_json import compact_json
from proxy.domain.profiles import NOT_KNOWN, Profile, Question, profile_of
from proxy.domain.transfers import Request, Response
from proxy.settings import ProfileSettings
from proxy.signatures import signer_of
from proxy.strict_json import object_or_none

_LONGEST = 16 * 1024  # of an answer: two names and an address
_UNKNOWN = frozenset({204, 404})


class ProfileWire:
    def __init__(self, settings: ProfileSettings) -> None:
        self._url, self._signer = settings.url.get_secret_value(), signer_of(settings.all_secrets)

    def build(self, question: Question, webhook_id: str, now: datetime) -> Request:
        members = {"account": question.account, **({"group": question.group} if question.group else {})}
        body = compact_json(members).encode("utf-8", "replace")
        return Request(self._url, self._signer.request_headers(webhook_id, body, now), body)

    def read(self, question: Question, answer: Response) -> Profile | None:
        """None: an answer that no working server gives."""
        if answer.status in _UNKNOWN:
            return NOT_KNOWN
        if answer.status != 200 or len(answer.body) > _LONGEST:
            return None
        members = object_or_none(answer.body)
        if members is None:
            return None
        group_name = members.get("group_name") if question.group else None
        return profile_of(members.get("name"), group_name, members.get("avatar"))

"""Whose token, and of which app."""

import pytest

from proxy.errors import BadRequest, NotAllowed, NotFound, Refusal
from proxy.settings import AppSettings
from proxy.usecases.choose_app import choose_app


def sections(**app_ids: str) -> dict[str, AppSettings]:
    secrets = {"app_key": "k", "app_secret": "s", "url_secret": "u" * 16}
    return {name: AppSettings.model_validate({"app_id": app_id, **secrets}) for name, app_id in app_ids.items()}


ONE = sections(main="2882303761517000001")
SHARED = sections(phone="1", pad="1")
TWO = sections(main="1", other="2")


@pytest.mark.parametrize(
    ("asked", "bound_app", "apps", "section"),
    [
        ({}, None, ONE, "main"),
        ({"appId": None, "appAccount": None}, None, ONE, "main"),
        ({"appId": "2882303761517000001"}, None, ONE, "main"),
        ({"appId": 2882303761517000001}, None, ONE, "main"),
        ({"appAccount": "1000", "appKey": "old client"}, None, ONE, "main"),
        ({}, None, SHARED, "phone"),
        ({"appId": "1"}, None, SHARED, "phone"),
        ({"appId": "1"}, "pad", SHARED, "pad"),
        ({}, "other", TWO, "other"),
        ({"appId": "2"}, None, TWO, "other"),
        ({"appId": 2}, "other", TWO, "other"),
    ],
)
def test_the_token_is_the_users_own_in_the_app_that_is_meant(
    asked: dict[str, object], bound_app: str | None, apps: dict[str, AppSettings], section: str
) -> None:
    assert choose_app(asked, "1000", bound_app, apps) == section


@pytest.mark.parametrize(
    ("asked", "bound_app", "kind", "field"),
    [
        ({"appAccount": "1001"}, None, NotAllowed, "appAccount"),
        ({"appAccount": ""}, None, NotAllowed, "appAccount"),
        ({"appAccount": "1000 "}, None, NotAllowed, "appAccount"),
        ({"appAccount": 1000}, None, BadRequest, "appAccount"),
        ({"appAccount": ["1000"]}, None, BadRequest, "appAccount"),
        ({}, None, BadRequest, "appId"),
        ({"appId": "3"}, None, NotFound, "appId"),
        ({"appId": "01"}, None, NotFound, "appId"),
        ({"appId": ""}, None, NotFound, "appId"),
        ({"appId": 1.0}, None, BadRequest, "appId"),
        ({"appId": True}, None, BadRequest, "appId"),
        ({"appId": "1"}, "other", NotAllowed, "appId"),
    ],
)
def test_whatever_else_is_asked_is_refused_by_the_members_name(
    asked: dict[str, object], bound_app: str | None, kind: type[Refusal], field: str
) -> None:
    with pytest.raises(Refusal) as refusal:
        choose_app(asked, "1000", bound_app, TWO)
    assert (type(refusal.value), refusal.value.message.split(":")[0]) == (kind, field)

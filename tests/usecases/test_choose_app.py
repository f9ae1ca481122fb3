"""Whose token, and of which app."""

import pytest

from proxy.errors import BadRequest, RequestRefused
from proxy.usecases.choose_app import choose_app

ONE = {"main": "2882303761517000001"}
SHARED = {"phone": "1", "pad": "1"}
TWO = {"main": "1", "other": "2"}


@pytest.mark.parametrize(
    ("asked", "bound_app", "app_ids", "section"),
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
    asked: dict[str, object], bound_app: str | None, app_ids: dict[str, str], section: str
) -> None:
    assert choose_app(asked, "1000", bound_app, app_ids) == section


@pytest.mark.parametrize(
    ("asked", "bound_app", "status", "field"),
    [
        ({"appAccount": "1001"}, None, 403, "appAccount"),
        ({"appAccount": ""}, None, 403, "appAccount"),
        ({"appAccount": "1000 "}, None, 403, "appAccount"),
        ({"appAccount": 1000}, None, 400, "appAccount"),
        ({"appAccount": ["1000"]}, None, 400, "appAccount"),
        ({}, None, 400, "appId"),
        ({"appId": "3"}, None, 404, "appId"),
        ({"appId": "01"}, None, 404, "appId"),
        ({"appId": ""}, None, 404, "appId"),
        ({"appId": 1.0}, None, 400, "appId"),
        ({"appId": True}, None, 400, "appId"),
        ({"appId": "1"}, "other", 403, "appId"),
    ],
)
def test_whatever_else_is_asked_is_refused_by_the_members_name(
    asked: dict[str, object], bound_app: str | None, status: int, field: str
) -> None:
    with pytest.raises(RequestRefused) as refusal:
        choose_app(asked, "1000", bound_app, TWO)
    assert (refusal.value.status, refusal.value.message.split(":")[0]) == (status, field)
    assert isinstance(refusal.value, BadRequest) is (status == 400)

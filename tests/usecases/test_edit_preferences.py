"""What a client may ask of a user's alerts, and which member is named where it may not."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.preferences import DEFAULT, MOST_MUTED, Mute, Preferences, QuietHours
from proxy.domain.previews import Preview
from proxy.errors import BadRequest
from proxy.usecases.edit_preferences import read_preferences, shown

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ALL: dict[str, Any] = {
    "mutes": [
        {"account": "小 米", "mentions": False, "until": None},
        {"topic_id": "21351198708203520", "mentions": True, "until": "2026-11-24T08:00:00+08:00"},
    ],
    "quiet_hours": {"from": "22:30", "to": "07:00", "time_zone": "Asia/Shanghai", "calls": False},
    "preview": "sender",
}
QUIET = ALL["quiet_hours"]


def test_preferences_are_read_and_shown_again() -> None:
    preferences = read_preferences(ALL, NOON)
    assert preferences == Preferences(
        {"p2p:小 米": Mute(), "topic:21351198708203520": Mute(datetime(2026, 11, 24, tzinfo=UTC), mentions_pass=True)},
        QuietHours(time(22, 30), time(7), ZoneInfo("Asia/Shanghai"), calls_pass=False),
        Preview.SENDER,
    )
    assert read_preferences(shown(preferences), NOON) == preferences
    assert shown(preferences)["quiet_hours"] == QUIET


@pytest.mark.parametrize("asked", [{}, dict.fromkeys(ALL), {"mutes": []}, shown(DEFAULT)])
def test_what_is_absent_or_null_is_as_if_it_had_never_been_set(asked: dict[str, Any]) -> None:
    assert read_preferences(asked, NOON) == DEFAULT


def test_a_mute_that_is_over_is_left_out_and_of_two_the_last_counts() -> None:
    past, soon = "2026-11-23T11:59:59Z", "2026-11-23T12:00:01Z"
    asked = [{"account": "ann", "until": past}, {"account": "ben"}, {"account": "ben", "until": soon}]
    assert read_preferences({"mutes": asked}, NOON).mutes == {"p2p:ben": Mute(NOON + timedelta(seconds=1))}


def test_there_is_a_bound_for_the_number_of_mutes() -> None:
    asked = [{"account": f"user-{n}"} for n in range(MOST_MUTED + 1)]
    assert len(read_preferences({"mutes": asked[1:]}, NOON).mutes) == MOST_MUTED
    with pytest.raises(BadRequest, match=f"^mutes: expected at most {MOST_MUTED} conversations"):
        read_preferences({"mutes": asked}, NOON)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"mute": []}, "body"),
        ({"mutes": {}}, "mutes"),
        ({"mutes": ["ann"]}, "mutes"),
        ({"mutes": [{}]}, "mutes[0]"),
        ({"mutes": [{"account": "ann", "topic_id": "1"}]}, "mutes[0]"),
        ({"mutes": [{"account": "ann"}, {"account": "ben", "for": 5}]}, "mutes[1]"),
        ({"mutes": [{"account": ""}]}, "mutes[0].account"),
        ({"mutes": [{"account": "a" * 257}]}, "mutes[0].account"),
        ({"mutes": [{"account": "米" * 86}]}, "mutes[0].account"),
        ({"mutes": [{"account": "a\nb"}]}, "mutes[0].account"),
        ({"mutes": [{"account": "\ud800"}]}, "mutes[0].account"),
        ({"mutes": [{"account": None}]}, "mutes[0].account"),
        ({"mutes": [{"topic_id": 21351198708203520}]}, "mutes[0].topic_id"),
        ({"mutes": [{"topic_id": "a:b"}]}, "mutes[0].topic_id"),
        ({"mutes": [{"account": "ann", "mentions": 1}]}, "mutes[0].mentions"),
        ({"mutes": [{"account": "ann", "until": 1795435200}]}, "mutes[0].until"),
        ({"mutes": [{"account": "ann", "until": "tomorrow"}]}, "mutes[0].until"),
        ({"mutes": [{"account": "ann", "until": "2026-11-24T08:00:00"}]}, "mutes[0].until"),  # of which zone?
        ({"mutes": [{"account": "ann", "until": "9999-12-31T23:59:59-14:00"}]}, "mutes[0].until"),
        ({"quiet_hours": []}, "quiet_hours"),
        ({"quiet_hours": {**QUIET, "days": 5}}, "quiet_hours"),
        ({"quiet_hours": {}}, "quiet_hours.from"),
        ({"quiet_hours": {**QUIET, "from": "9:00"}}, "quiet_hours.from"),
        ({"quiet_hours": {**QUIET, "to": "24:00"}}, "quiet_hours.to"),
        ({"quiet_hours": {**QUIET, "to": "22:30"}}, "quiet_hours.to"),
        ({"quiet_hours": {**QUIET, "time_zone": "Asia/Atlantis"}}, "quiet_hours.time_zone"),
        ({"quiet_hours": {**QUIET, "time_zone": "+08:00"}}, "quiet_hours.time_zone"),
        ({"quiet_hours": {**QUIET, "time_zone": "../UTC"}}, "quiet_hours.time_zone"),
        ({"quiet_hours": {"from": "22:00", "to": "07:00"}}, "quiet_hours.time_zone"),
        ({"quiet_hours": {**QUIET, "calls": "yes"}}, "quiet_hours.calls"),
        ({"preview": "all"}, "preview"),
        ({"preview": ["full"]}, "preview"),
    ],
)
def test_a_wrong_member_is_named(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_preferences(asked, NOON)
    assert str(caught.value).startswith(f"{field}: expected")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["22:00", "Asia", "UTC"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["account", "topic_id", "until", "mentions", "from", "to", "time_zone"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["mutes", "quiet_hours", "preview", "app"]), ANYTHING))
def test_whatever_is_asked_is_read_or_refused(asked: dict[str, Any]) -> None:
    try:
        preferences = read_preferences(asked, NOON)
    except BadRequest:
        return
    assert read_preferences(shown(preferences), NOON) == preferences

"""What names a message is the same however its callback is spelled, and another for another message."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.channels.apns.wire import ApnsWire
from proxy.channels.mipush.wire import MipushWire
from proxy.domain.alerts import AlertText
from proxy.domain.callbacks import Callback
from proxy.domain.devices import ApnsEnvironment
from proxy.domain.jobs import Job, Push
from proxy.domain.offline_messages import offline_message
from proxy.mimc.wire import parse_callback
from tests.channels.pushes import apns_settings, header, mipush_settings, to_device

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NUMBERS = st.integers(1, 10**20).map(str)
PEOPLE = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4), min_size=1, unique=True)

Members = dict[str, Any]


@st.composite
def messages(draw: st.DrawFn) -> Members:
    """The members of an OFFLINE_* callback in either form, ids as text; `toAccounts` names the readers of a group."""
    members: Members = {
        "fromAccount": draw(st.sampled_from(["ann", "安娜"])),
        "payload": "aGk=",
        "timestamp": draw(NUMBERS),
    }
    if draw(st.booleans()):
        members |= {"msgType": "OFFLINE_MSG", "fromAppId": "1", "toAppId": "1", "toAccount": draw(PEOPLE)[0]}
    else:
        members |= {"msgType": "OFFLINE_TOPIC_MSG", "appId": "1", "topicId": draw(NUMBERS), "toAccounts": draw(PEOPLE)}
    new_form = {"sequence": draw(NUMBERS), "packetId": draw(NUMBERS), "bizType": "TEXT", "authentication": "AAAA"}
    return members | draw(st.sampled_from([{}, {"packetId": draw(NUMBERS)}, new_form]))


@st.composite
def spelled(draw: st.DrawFn, members: Members) -> bytes:
    """The same callback in another way: order of members and readers, numbers or text, escapes, white space."""
    again = {name: members[name] for name in draw(st.permutations([*members]))}
    for name in ("timestamp", "sequence", "packetId", "topicId", "appId", "fromAppId", "toAppId"):
        if name in again and draw(st.booleans()):
            again[name] = int(again[name])
    if "toAccounts" in again:
        again["toAccounts"] = draw(st.permutations(again["toAccounts"]))
    if "authentication" in again:
        again["authentication"] = draw(st.sampled_from(["AAAA", "BBBB"]))  # made anew for a repeat
    return json.dumps(again, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))).encode()


def read(body: bytes) -> Callback:
    callback = parse_callback(body)
    assert isinstance(callback, Callback)
    return callback


def names(callback: Callback, account: str) -> dict[str, str | None]:
    """All that tells one alert from another, on the wire and within."""
    alert = offline_message(callback, NOON).alert(AlertText("ann", "hi"), timedelta(hours=1))
    job = Job("main", "apns", account, "phone", alert)
    push = replace(to_device(), job=job)
    apns = ApnsWire(apns_settings(), ApnsEnvironment.PRODUCTION).build([push], "bearer x", NOON)
    to_account = Push(Job("main", "mipush", account, "", alert), None)
    form = parse_qs(MipushWire(mipush_settings(address="account")).build([to_account], "key=x", NOON).body.decode())
    return {
        "message": callback.message_id, "callback": callback.callback_id, "conversation": callback.conversation,
        "job": job.id, "apns-id": header(apns.headers, "apns-id"),
        "collapse id": header(apns.headers, "apns-collapse-id"), "jobkey": form["extra.jobkey"][0],
        "notify id": form["extra.notify_id"][0] if "extra.notify_id" in form else form["notify_id"][0],
    }  # fmt: skip


@RELAXED
@given(st.data())
def test_a_message_has_one_name_however_its_callback_is_spelled(data: st.DataObject) -> None:
    members = data.draw(messages())
    one, other = (read(data.draw(spelled(members))) for _ in range(2))
    assert names(one, "ben") == names(other, "ben")


@RELAXED
@given(st.data())
def test_another_message_or_reader_has_other_names(data: st.DataObject) -> None:
    members, others = data.draw(messages()), data.draw(messages())
    one, other = read(json.dumps(members).encode()), read(json.dumps(others).encode())
    mine, theirs = names(one, "ben"), names(other, "ben")
    if one.message_id != other.message_id:
        for name in ("callback", "job", "apns-id", "collapse id", "jobkey"):
            assert mine[name] != theirs[name]
    elsewhere = names(one, "cai")
    assert (elsewhere["job"], elsewhere["apns-id"]) != (mine["job"], mine["apns-id"])
    assert elsewhere["collapse id"] == mine["collapse id"]


@RELAXED
@given(st.data(), st.sampled_from(["sequence", "topicId", "toAccount", "packetId", "timestamp", "fromAccount"]))
def test_what_makes_it_another_message_changes_its_name(data: st.DataObject, name: str) -> None:
    """A sequence counts before a packet id, and that before the content."""
    members = data.draw(messages())
    if name not in members:
        return
    changed = members | {name: members[name] + "1"}
    one, other = read(json.dumps(members).encode()), read(json.dumps(changed).encode())
    people = {"topicId"} if "topicId" in members else {"fromAccount", "toAccount"}
    if "sequence" in members:
        counts = people | {"sequence"}
    elif "packetId" in members:
        counts = {"packetId", "fromAccount"}
    else:
        counts = people | {"timestamp", "fromAccount"}
    assert (one.message_id != other.message_id) == (name in counts)

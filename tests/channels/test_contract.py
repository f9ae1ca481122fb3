"""What the worker may rely on, whatever the provider: every wire passes this."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.channels.apns.wire import ApnsWire
from proxy.channels.http.wire import HttpWire
from proxy.channels.mipush.wire import MipushWire
from proxy.domain.alerts import Alert, Update
from proxy.domain.devices import ApnsEnvironment, Platform
from proxy.domain.jobs import Push
from proxy.domain.outcomes import Deferred, Impossible, Misaddressed, OurFault, Outcome, Rejected, Split
from proxy.domain.previews import Preview
from proxy.domain.transfers import Response
from proxy.ports import Wire
from tests.channels.pushes import (
    DEVICE_TOKEN,
    NOON,
    RELAXED,
    SECRET,
    alerts,
    an_alert,
    answers,
    apns_settings,
    http_settings,
    mipush_settings,
    to_account,
    to_device,
    to_regid,
)


@dataclass(frozen=True)
class Case:
    """A wire, a good push of the alert to the n-th target, and an address that must never be sent to."""

    wire: Wire
    push: Callable[[Alert, int], Push]
    bad_pushes: tuple[Push, ...]


CASES = {
    "apns": Case(
        ApnsWire(apns_settings(), ApnsEnvironment.PRODUCTION),
        lambda alert, n: to_device(alert, f"{DEVICE_TOKEN}{n:04x}"),
        (to_device(push_token=""), to_device(push_token="../../3/device/00"), to_account("abcd")),
    ),
    "mipush accounts": Case(
        MipushWire(mipush_settings()),
        lambda alert, n: to_account(f"account{n}", alert),
        (to_account(""), to_account("alice,bob"), to_regid("alice")),
    ),
    "mipush regids": Case(
        MipushWire(mipush_settings(address="regid")),
        lambda alert, n: to_regid(f"regid+/={n}", alert),
        (to_regid(""), to_regid("one,two"), to_account("alice")),
    ),
    "http devices": Case(
        HttpWire(http_settings()),
        lambda alert, n: to_device(alert, f"{DEVICE_TOKEN}{n}", platform=Platform.HTTP),
        (to_device(push_token="", platform=Platform.HTTP), to_account("alice")),
    ),
    "http accounts": Case(
        HttpWire(http_settings(address="account")),
        lambda alert, n: to_account(f"account{n}", alert),
        (to_account(""), to_device(platform=Platform.HTTP)),
    ),
}
every_wire = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())

# reasons, codes and data as both providers shape them, right and wrong
_values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=90), st.just({"id": 1}))
_bodies = st.fixed_dictionaries(
    {},
    optional={
        "reason": st.sampled_from(["BadDeviceToken", "Unregistered", "TooManyRequests", "Teapot"]) | _values,
        "timestamp": st.just(1_793_534_400_000) | _values,
        "code": st.sampled_from([0, 1, 10017, 10041, 20301, 21301, 66007, 200001]) | _values,
        "data": st.fixed_dictionaries({}, optional={"id": _values, "bad_regids": _values}) | _values,
        "trace_id": _values,
    },
).map(lambda value: json.dumps(value).encode())


@every_wire
@RELAXED
@given(answer=answers | st.builds(Response, st.sampled_from([200, 400, 403, 410, 429, 500]), st.just({}), _bodies))
@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_answer_gives_one_outcome_per_push(case: Case, count: int, answer: Response) -> None:
    pushes = [case.push(an_alert(), n) for n in range(min(count, case.wire.batch_limit))]

    outcomes = case.wire.read(pushes, answer, NOON)

    assert len(outcomes) == len(pushes)
    for outcome in outcomes:
        assert not isinstance(outcome, Split) or len(pushes) > 1
        _is_bounded(outcome)


def _is_bounded(outcome: Outcome) -> None:
    match outcome:
        case Impossible(reason) | Misaddressed(reason) | Rejected(reason) | OurFault(reason) | Split(reason):
            text, wait = reason, timedelta(0)
        case Deferred(reason, wait):
            text = reason
        case _:
            return
    assert 0 < len(text) <= 61
    assert text.isascii()
    assert text.isprintable()
    assert timedelta(0) <= wait <= timedelta(hours=1)


@every_wire
@RELAXED
@given(alert=alerts)
def test_any_alert_becomes_a_request(case: Case, alert: Alert) -> None:
    request = case.wire.build([case.push(alert, 1)], "key=k", NOON)

    assert request.url.startswith("https://")
    for line in request.headers:
        assert line.isascii()
        assert line.isprintable()
        assert line.split(":")[0] == line.split(":")[0].lower()


@every_wire
@pytest.mark.parametrize("update", [None, *Update])
def test_an_alert_and_each_update_of_it_say_nothing_that_is_not_to_be_shown(case: Case, update: Update | None) -> None:
    alert = replace(an_alert("WHO WRITES", "WHAT THEY WRITE"), update=update)
    hidden = case.push(alert.at(Preview.NONE), 1)
    told = replace(case.push(alert, 1), device=hidden.device and replace(hidden.device, preview=Preview.NONE))
    for push in (hidden, told) if hidden.device else (hidden,):
        request = case.wire.build([replace(push, badge=2)], "key=k", NOON)
        said = " ".join((request.url, *request.headers, request.body.decode()))
        assert request.url.startswith("https://")
        assert "WHO" not in said
        assert "WHAT" not in said


@every_wire
def test_a_bad_address_is_refused_before_it_is_sent(case: Case) -> None:
    assert case.wire.refuse(case.push(an_alert(), 1)) is None
    for push in case.bad_pushes:
        assert isinstance(case.wire.refuse(push), Rejected | Misaddressed | Impossible)


@every_wire
def test_pushes_share_a_batch_only_if_their_requests_differ_in_the_target_alone(case: Case) -> None:
    push, same, other = case.push(an_alert(), 1), case.push(an_alert(), 1), case.push(an_alert(body="bye"), 1)

    assert case.wire.batch_key(push.job) == case.wire.batch_key(same.job)
    assert hash(case.wire.batch_key(push.job)) == hash(case.wire.batch_key(same.job))
    assert case.wire.build([push], "a", NOON) == case.wire.build([same], "a", NOON)
    if case.wire.batch_limit > 1:
        assert case.wire.batch_key(push.job) == case.wire.batch_key(case.push(an_alert(), 2).job)
        assert case.wire.batch_key(push.job) != case.wire.batch_key(other.job)


@every_wire
def test_nothing_secret_is_in_a_repr(case: Case) -> None:
    push = case.push(an_alert("WHO WRITES", "WHAT THEY WRITE"), 1)
    request = case.wire.build([push], f"key={SECRET}", NOON)
    answer = Response(400, {}, json.dumps({"reason": "BadDeviceToken", "code": 20301}).encode())
    shown = repr((case.wire, vars(case.wire), request, answer, case.wire.batch_key(push.job)))
    shown += repr((case.wire.refuse(push), case.wire.read([push], answer, NOON)))

    for secret in (SECRET, "WHO WRITES", "WHAT THEY WRITE", DEVICE_TOKEN):
        assert secret not in shown

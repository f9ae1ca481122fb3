from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.alerts import Alert, AlertText, Order

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("one", "other", "later"),
    [
        (Order(2, 10, 10), Order(1, 99, 99), True),  # the sequence decides
        (Order(1, 99, 99), Order(2, 10, 10), False),
        (Order(0, 11, 10), Order(1, 10, 99), True),  # only one has it: the timestamp decides
        (Order(1, 10, 99), Order(0, 11, 10), False),
        (Order(0, 0, 11), Order(0, 10, 10), True),  # neither has both: our acceptance decides
        (Order(1, 10, 10), Order(0, 0, 11), False),
        (Order(5, 10, 11), Order(5, 10, 10), True),
        (Order(5, 10, 10), Order(5, 10, 10), False),
        (Order(0, 0, 0), Order(1, 1, 1), False),
        (Order(154503794553568002, 0, 0), Order(154503794553568001, 0, 0), True),  # beyond a double's 2^53
    ],
)
def test_the_first_measure_that_both_have_tells_the_later(one: Order, other: Order, later: bool) -> None:
    assert one.is_later_than(other) is later


ORDERS = st.builds(Order, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


@RELAXED
@given(ORDERS, ORDERS)
def test_no_two_are_each_later_than_the_other(one: Order, other: Order) -> None:
    assert not (one.is_later_than(other) and other.is_later_than(one))
    assert not one.is_later_than(one)


@st.composite
def comparable(draw: st.DrawFn) -> tuple[Order, Order, Order]:
    """Three that have the same measures, as the messages of an app whose callbacks have one form."""
    has = [draw(st.booleans()) for _ in range(3)]
    orders = [Order(*(draw(st.integers(1, 3)) if it else 0 for it in has)) for _ in range(3)]
    return orders[0], orders[1], orders[2]


@RELAXED
@given(comparable())
def test_of_three_with_the_same_measures_the_latest_is_later_than_the_earliest(orders: tuple[Order, ...]) -> None:
    one, two, three = orders
    if one.is_later_than(two) and two.is_later_than(three):
        assert one.is_later_than(three)
    if not one.is_later_than(two) and not two.is_later_than(one):  # equal, for every other
        assert one.is_later_than(three) == two.is_later_than(three)


def test_where_one_lacks_a_measure_three_may_go_round_but_two_always_agree() -> None:
    """Only where one conversation mixes both forms and its timestamps contradict its sequences."""
    first, second, third = Order(2, 10, 1), Order(1, 30, 1), Order(0, 20, 1)
    assert first.is_later_than(second)
    assert second.is_later_than(third)
    assert third.is_later_than(first)


def alert(conversation: str) -> Alert:
    return Alert("m1", conversation, AlertText("ann", "hi there"), Order(1, 1, 1), NOON)


def test_a_conversation_id_is_32_hex_digits_that_hide_the_name() -> None:
    conversation_id = alert("p2p:安娜").conversation_id
    assert len(conversation_id) == 32
    assert int(conversation_id, 16)
    assert conversation_id == alert("p2p:安娜").conversation_id
    assert conversation_id != alert("topic:77").conversation_id


def test_no_repr_of_an_alert_shows_its_words() -> None:
    assert "hi there" not in repr(alert("p2p:ann"))
    assert "ann" not in repr(AlertText("ann", "hi there"))

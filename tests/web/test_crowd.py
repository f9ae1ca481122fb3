"""Who has to go where there are too many connections."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.web.crowd import Crowd


def crowd(*addresses: str | None, most: int = 10, most_per_address: int = 4) -> Crowd[int]:
    """Connections 0, 1, 2 ... in this order, all without a request."""
    it: Crowd[int] = Crowd(most, most_per_address)
    for number, address in enumerate(addresses):
        it.add(number, address)
    return it


def test_who_has_waited_longest_goes_first() -> None:
    it = crowd("a", "b", "a")
    assert (it.longest_waiting(), it.longest_waiting_of("a"), it.longest_waiting_of("b")) == (0, 0, 1)
    it.end_waiting(0, "a")
    assert (it.longest_waiting(), it.longest_waiting_of("a")) == (1, 2)
    it.begin_waiting(0, "a")  # answered: its wait begins anew
    assert (it.longest_waiting(), it.longest_waiting_of("a")) == (1, 2)
    assert it.waiting() == [1, 2, 0]


def test_a_full_house_of_whole_requests_lets_no_one_in() -> None:
    it = crowd("a", "b", most=2)
    assert it.is_full
    assert it.has_room  # in the place of one that waits
    for number, address in enumerate("ab"):
        it.end_waiting(number, address)
    assert not it.has_room
    it.remove(0, "a")
    assert it.has_room
    assert not it.is_full


def test_an_address_is_counted_and_a_proxy_is_not() -> None:
    it = crowd("a", "a", None, None, None, most_per_address=2)
    assert it.is_crowded_by("a")
    assert not it.is_crowded_by(None)
    it.remove(0, "a")
    assert not it.is_crowded_by("a")


@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "begin", "end"]), st.integers(0, 7))))
def test_whatever_happens_the_figures_are_right(steps: list[tuple[str, int]]) -> None:
    it: Crowd[int] = Crowd(4, 2)
    present: dict[int, None] = {}
    waiting: list[int] = []
    for step, number in steps:
        address = None if number == 7 else "ab"[number % 2]
        match step:
            case "add" if number not in present:
                it.add(number, address)
                present[number] = None
                waiting.append(number)
            case "remove" if number in present:
                it.remove(number, address)
                del present[number]
                waiting = [other for other in waiting if other != number]
            case "begin" if number in present and number not in waiting:
                it.begin_waiting(number, address)
                waiting.append(number)
            case "end" if number in present:
                it.end_waiting(number, address)
                waiting = [other for other in waiting if other != number]
        assert it.waiting() == waiting
        assert it.size == len(present)
        for name, own in (("a", (0, 2, 4, 6)), ("b", (1, 3, 5))):
            assert it.is_crowded_by(name) is (sum(other in own for other in present) >= 2)
            assert it.longest_waiting_of(name) == next((other for other in waiting if other in own), None)

"""A spool file's bytes: whatever is cut off or changed, what is still whole is found, and what is not is said."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.spool.format import DONE, CutOff, Damage, Record, dump, walk

ID = "0123456789abcdef" * 2
# as they are: JSON in UTF-8, long enough for a record's end to lie anywhere
BODIES = st.lists(st.text(max_size=60).map(str.encode), min_size=1, max_size=5)


def file_of(bodies: list[bytes]) -> tuple[bytes, list[int]]:
    """The file, and where each record begins."""
    starts, data = [], b""
    for body in bodies:
        starts.append(len(data))
        data += dump(ID, body)
    return data, starts


def whole(data: bytes) -> list[bytes]:
    return [item.body for item in walk(data) if isinstance(item, Record)]


@given(BODIES)
def test_what_was_written_is_read(bodies: list[bytes]) -> None:
    found = list(walk(file_of(bodies)[0]))
    assert [(it.callback_id, it.body, it.done) for it in found if isinstance(it, Record)] == [
        (ID, body, False) for body in bodies
    ]
    assert len(found) == len(bodies)


@given(BODIES, st.data())
def test_a_file_cut_off_anywhere_is_its_first_records_and_one_that_is_not_all_there(
    bodies: list[bytes], data: st.DataObject
) -> None:
    file, starts = file_of(bodies)
    length = data.draw(st.integers(0, len(file)))
    found = list(walk(file[:length]))
    count = sum(end <= length for end in (*starts[1:], len(file)))
    assert [it.body for it in found if isinstance(it, Record)] == bodies[:count]
    rest = [it for it in found if not isinstance(it, Record)]
    assert rest == ([] if length in (*starts, len(file)) else [CutOff(starts[count], length)])


@given(BODIES, st.data())
def test_any_wrong_byte_costs_one_record_and_is_told(bodies: list[bytes], data: st.DataObject) -> None:
    file, starts = file_of(bodies)
    at = data.draw(st.integers(0, len(file) - 1))
    wrong = bytearray(file)
    wrong[at] ^= data.draw(st.integers(1, 255))
    hit = sum(start <= at for start in starts) - 1
    found = list(walk(bytes(wrong)))
    assert [it.body for it in found if isinstance(it, Record)] == bodies[:hit] + bodies[hit + 1 :]
    assert [it for it in found if not isinstance(it, Record)] == [Damage(starts[hit], (*starts, len(file))[hit + 1])]


@given(BODIES, st.data())
def test_a_done_record_is_told_from_one_that_waits_and_its_neighbours_are_as_before(
    bodies: list[bytes], data: st.DataObject
) -> None:
    file, starts = file_of(bodies)
    which = data.draw(st.integers(0, len(bodies) - 1))
    marked = file[: starts[which]] + DONE + file[starts[which] + len(DONE) :]
    found = [it for it in walk(marked) if isinstance(it, Record)]
    assert [it.done for it in found] == [number == which for number in range(len(bodies))]
    assert [it.body for it in found] == bodies


@given(st.binary(max_size=300), BODIES, st.binary(max_size=300))
def test_whatever_else_stands_in_a_file_its_records_are_found(before: bytes, bodies: list[bytes], after: bytes) -> None:
    file, _ = file_of(bodies)
    assert whole(before + file + after) == bodies


@given(st.binary(max_size=500))
def test_any_bytes_are_walked_to_their_end(data: bytes) -> None:
    items = list(walk(data))
    assert [it.start for it in items[1:]] == [it.end for it in items[:-1]]
    assert (items[0].start, items[-1].end) == (0, len(data)) if data else not items


def test_a_record_shows_no_words_in_its_repr() -> None:
    (record,) = walk(dump(ID, b"the words"))
    assert "words" not in repr(record)

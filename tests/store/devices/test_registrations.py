"""What a list says of a device names its first push token's owner, in either form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.devices import Device, Platform
from proxy.store.devices.registrations import read_registration, record_in, registration_of, registration_parts
from proxy.store.keys import Layout
from proxy.store.marks import Marks
from tests.store.samples import device

COMPACT, BEFORE = Layout(16, Marks.new(16)), Layout(0)


@given(st.text(min_size=1), st.sampled_from(Platform))
def test_a_compact_one_names_the_owner_by_its_digest_whatever_bytes_that_has(token: str, platform: Platform) -> None:
    one = Device("main", "ben", "phone", platform, token, device().registered_at)
    found = registration_of(COMPACT, "77", one)
    assert b"proxy" not in found.value
    assert registration_parts(COMPACT, "77", "main", found.value) == (found.owner_keys[0], record_in(found.value))
    assert read_registration(COMPACT, "77", "main", "phone", found.value) == found


@pytest.mark.parametrize("reader", [COMPACT, BEFORE])
def test_the_form_of_earlier_programs_is_written_where_they_may_read_and_read_everywhere(reader: Layout) -> None:
    found = registration_of(BEFORE, "77", device())
    assert registration_parts(reader, "77", "main", found.value) == (found.owner_keys[0], record_in(found.value))
    assert found.value.startswith(b"proxy:{77}:token:main:apns:")


def test_of_a_record_of_a_later_version_the_first_push_token_is_known() -> None:
    found = registration_of(COMPACT, "77", device())
    later = found.value[: -len(record_in(found.value))] + b"\x7fas nobody writes yet"
    assert read_registration(COMPACT, "77", "main", "phone", later).owner_keys == found.owner_keys


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x01" + b"\n" * 16, b"\x01" + b"d" * 16 + b"apns", b"proxy:{77}"])
def test_a_damaged_one_names_nobody(value: bytes) -> None:
    assert registration_parts(COMPACT, "77", "main", value) == ("", b"")
    assert read_registration(COMPACT, "77", "main", "phone", value).owner_keys == ()

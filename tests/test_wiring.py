"""What the settings become."""

from pathlib import Path

from proxy.spool.inbox import SpoolingInbox
from proxy.wiring.common import identity_of
from proxy.wiring.web import web_services
from tests.store.samples import NOON
from tests.web.world import settings


def test_with_a_spool_the_store_that_was_known_is_remembered_over_a_restart(tmp_path: Path) -> None:
    def known(**store: str) -> object:
        """What a process that starts now says to the store that it knows."""
        return identity_of(settings(store=store)).asked(NOON)[1][0]

    (tmp_path / "spool").mkdir()
    identity_of(settings(store={"spool_dir": str(tmp_path / "spool")})).learn([b"the-store", None, 0])
    assert known(spool_dir=str(tmp_path / "spool")) == "the-store"
    assert known() == ""


def test_a_spool_that_is_off_leaves_nothing_behind_and_one_whose_disk_fails_keeps_no_process_from_starting(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    off = web_services(settings())
    assert off.spool is None
    assert not isinstance(off.inbox, SpoolingInbox)
    failing = web_services(settings(store={"spool_dir": str(tmp_path / "file")}))
    assert failing.spool is not None
    assert failing.spool.spool.has_failed

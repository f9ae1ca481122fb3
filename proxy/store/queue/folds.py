"""Alerts that are told together: the state of a conversation's fold on one phone. With `alerts.fold_s` alone.

    next    its window ends then, ms                          first   the message that names it
    until   when the update that is on its way expires, ms    count   how many messages it has; of them
    order   that of the latest message                        shown   those of which the phone was told
    seen    how many were ever put into it                    told    seen, when the phone was told the last time
    sounds  a new one may; the latest such has this place:    read    the withdrawal that follows what is on its way
    loud                                                      again   ms; from then on that counts as lost, and another
                                                                      is made

Without a fold there is `next` alone. Scripts: plan_chunk, withdraw, "told" of settle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from proxy.domain.alerts import Alert
from proxy.domain.callbacks import digest
from proxy.domain.folds import Fold
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.times import MS, from_ms, to_ms
from proxy.store.keys import Layout
from proxy.store.records import dump_order, load_order
from proxy.store.scripts import Argument, Command

_FIELDS = ("first", "count", "shown", "seen", "order", "until", "sounds")


@dataclass(frozen=True)
class Folding:
    """How long alerts of a conversation are gathered; `replacing`: lanes whose alerts replace each other."""

    window: timedelta
    replacing: frozenset[Lane] = frozenset()

    @property
    def window_ms(self) -> int:
        return self.window // MS

    def of_message(self, alert: Alert, now_ms: int) -> list[Argument]:
        """For plan_chunk.lua."""
        return [alert.message_id, dump_order(alert.order), to_ms(alert.expires_at), now_ms]

    def of_job(self, lane: Lane, job: Job, place: int) -> list[Argument]:
        """The same, for one that may fold: where its fold is in KEYS."""
        return [place, int(not job.alert.silent), int(lane in self.replacing)]


GOES_AT_ONCE: Sequence[Argument] = (0, 0, 0)


def key_of(layout: Layout, app_id: str, job: Job) -> str:
    return layout.fold(app_id, job.account, digest("fold", job.mark, job.alert.conversation)[:20])


def asking(layout: Layout, app_id: str, job: Job) -> Command:
    """What `fold_of` is to be given the answer to."""
    return ("HMGET", key_of(layout, app_id, job), *_FIELDS)


def fold_of(job: Job, answer: Sequence[bytes | None]) -> Fold:
    """What an update has to tell; where the store has lost that, or expects none, what the update itself knows: it may
    come back from the dead letters. One that was made in the place of a lost one knows nothing.
    """
    first, count, shown, seen, order, until, sounds = answer
    if first is None or order is None or until is None:
        alert = job.alert
        return Fold(alert.message_id, alert.text.count, 0, 0, alert.order, alert.expires_at, alert.silent)
    return Fold(
        first.decode(), int(count or 0), int(shown or 0), int(seen or 0), load_order(order), from_ms(int(until)),
        sounds is None,
    )  # fmt: skip

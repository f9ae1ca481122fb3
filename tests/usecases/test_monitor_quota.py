"""How much of a day's allowance is spent: every figure is shown, and four fifths are told once."""

import json

from proxy.channels.mipush.receipts import quota_in
from proxy.domain.receipts import QuotaUse
from proxy.domain.transfers import Response
from proxy.usecases.monitor_quota import NamedUse, QuotaListener, QuotaMonitor


def test_four_fifths_are_told_once_for_each_app_and_again_after_a_day_began_anew() -> None:
    shown, told = list[NamedUse](), list[NamedUse]()
    monitor = QuotaMonitor(shown.append, told.append)
    for used in (79, 80, 95, 3, 81):
        monitor.used("main", QuotaUse(used, 100))
    monitor.used("other", QuotaUse(100, 100))
    assert [(app, use.used) for app, use in told] == [("main", 80), ("main", 81), ("other", 100)]
    assert len(shown) == 6


def test_one_answer_a_second_is_read() -> None:
    now, heard = [0.0], list[QuotaUse]()
    listener = QuotaListener(quota_in, heard.append, lambda: now[0])
    for at, spent in ((0.0, 1), (0.9, 2), (1.0, 3), (1.5, 4)):
        now[0] = at
        body = json.dumps({"code": 0, "data": {"day_quota": "10", "day_acked": str(spent)}}).encode()
        listener.heard(Response(200, {}, body))
    assert [use.used for use in heard] == [1, 3]

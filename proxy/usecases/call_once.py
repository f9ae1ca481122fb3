"""A call that its client may repeat is made once."""

from collections.abc import Callable
from datetime import datetime, timedelta

from proxy.domain.idempotency import (
    Answered,
    Begun,
    Call,
    Different,
    MayHaveBeenSent,
    Running,
    answer_to_keep,
)
from proxy.domain.transfers import Paused, Prevented, Response, TransportFailure
from proxy.errors import Refusal
from proxy.ports import Idempotency

Ended = Response | TransportFailure | Paused
Known = Answered | Running | Different | MayHaveBeenSent


def call_once(
    book: Idempotency, call: Call, now: datetime, lease: timedelta, make: Callable[[], Ended]
) -> Ended | Known:
    """What `make` returns, or how the first call with this key went. `lease`: `make` takes no longer.

    Where nothing has left, the key is free again. Raises StoreUnavailable before anything leaves.
    """
    begun = book.begin(call, now, lease)
    if not isinstance(begun, Begun):
        return begun
    try:
        ended = make()
    except Refusal:
        book.abandon(begun)  # nothing has left
        raise
    except BaseException:
        book.cut_off(begun)  # how far it came is not known
        raise
    match ended:
        case Prevented() | TransportFailure(sent=False) | Paused():
            book.abandon(begun)
        case TransportFailure():
            book.cut_off(begun)
        case Response():
            book.end(begun, answer_to_keep(ended))
    return ended

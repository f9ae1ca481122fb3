"""Users' own MIMC tokens, with which their calls travel: in memory alone, and for ten minutes at most."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.domain.transfers import Paused, Response, TransportFailure
from proxy.mimc.token_answer import token_in
from proxy.ports import TokenService

LIFE_S = 600.0
_MOST = 5_000


@dataclass(frozen=True)
class UserToken:
    """`is_new`: it was asked for just now."""

    text: str = field(repr=False)
    is_new: bool


class UserTokens:
    """Safe to share between threads. Two calls of a user at once may ask for two tokens; both are good."""

    def __init__(self, tokens: TokenService, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens, self._clock = tokens, clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()

    def of(self, app: str, account: str) -> UserToken | Response | TransportFailure | Paused:
        """The user's token, or the TokenService's answer where it gave none."""
        key = app, account
        with self._lock:
            until, text = self._kept.get(key, (0.0, ""))
        if self._clock() < until:
            return UserToken(text, is_new=False)
        answer = self._tokens.issue(app, account)
        token = token_in(answer) if isinstance(answer, Response) else None
        if token is None:
            return answer
        with self._lock:
            self._kept[key] = self._clock() + LIFE_S, token
            self._kept.move_to_end(key)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return UserToken(token, is_new=True)

    def drop(self, app: str, account: str, token: UserToken) -> None:
        """It was refused."""
        with self._lock:
            if self._kept.get((app, account), (0.0, ""))[1] == token.text:
                del self._kept[app, account]

"""How the emulated MIMC refuses an API call.

Xiaomi publishes no list of codes. `QUIT_FAILED` is the only error body in all its documents; the other codes and all
other messages are this emulator's own, and GET /_emulator/about says so.
"""

BAD_REQUEST, UNKNOWN_CALLER, NOT_ALLOWED, NOT_FOUND, TOO_MANY, FULL = 400, 401, 403, 404, 429, 503


class Refused(Exception):
    """The call is answered with this code; `message` names a member, never its value."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code, self.message = code, message


def quit_failed() -> Refused:
    return Refused(500, "quit topic fail")

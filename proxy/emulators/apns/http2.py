"""h2 as the emulator needs it: strict about requests; the emulator itself counts streams."""

from collections.abc import Iterable

import h2.config
import h2.connection
import h2.settings
from hyperframe.frame import GoAwayFrame

from proxy.emulators.apns.rules import PushRequest

LIMIT = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
_HEADER_LIST_SIZE = 8000
# what APNs was seen to announce
_SETTINGS = {
    h2.settings.SettingCodes.HEADER_TABLE_SIZE: 4096,
    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 65535,
    h2.settings.SettingCodes.MAX_FRAME_SIZE: 16384,
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: _HEADER_LIST_SIZE,
}


class Http2(h2.connection.H2Connection):
    """A server's side of a connection, initiated; its SETTINGS are in what is to be sent."""

    def __init__(self, stream_limit: int) -> None:
        super().__init__(h2.config.H2Configuration(
            client_side=False, header_encoding=False,
            validate_outbound_headers=False, normalize_outbound_headers=False,
        ))  # fmt: skip
        self._asked = 0
        # assigned as a whole: single items set afterwards would be announced only in a second frame
        self.local_settings = _Settings(client=False, initial_values={**_SETTINGS, LIMIT: stream_limit})
        self.decoder.max_header_list_size = _HEADER_LIST_SIZE
        self.initiate_connection()

    @property
    def open_inbound_streams(self) -> int:
        """h2 walks over all streams at each request to count them and drop the closed; now and then is enough."""
        self._asked += 1
        return super().open_inbound_streams if self._asked % 100 == 0 else 0


class _Settings(h2.settings.Settings):
    """h2 ends the connection at the first stream over the limit, acknowledged or not: we count for ourselves."""

    @property
    def max_concurrent_streams(self) -> int:
        return 2**31

    @max_concurrent_streams.setter
    def max_concurrent_streams(self, value: int) -> None:
        self[LIMIT] = value


def goaway_frame(last_stream_id: int, code: int, debug_data: bytes) -> bytes:
    """A GOAWAY past h2, whose own close_connection() would forbid every answer that is still due."""
    return GoAwayFrame(0, last_stream_id=last_stream_id, error_code=code, additional_data=debug_data).serialize()


def read_request(raw_headers: Iterable[tuple[bytes, bytes]], body: bytes) -> PushRequest:
    """A complete request; header values that are no UTF-8 keep their length in bytes."""
    pseudo: dict[str, str] = {}
    headers: dict[str, str] = {}
    repeated = False
    for raw_name, raw_value in raw_headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("utf-8", "surrogateescape")
        if name.startswith(":"):
            pseudo[name] = value
        else:
            repeated = repeated or name in headers
            headers[name] = value
    return PushRequest(pseudo.get(":method", ""), pseudo.get(":path", ""), headers, repeated, body)

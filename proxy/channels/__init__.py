"""The ways to a phone. A channel's name is that of its platform, its folder and its section in the settings.

Apple's sandbox is a channel of its own: its trouble is not production's.

apns/  mipush/  http/   the languages of the providers, and of the developer's own sender, pure: wire.py
webhooks/        callbacks to the developer's other servers: wire.py, for no phone
factory.py       one transport for each identity at a provider
http2.py  http1.py  connection.py  places.py  transfer.py  multi.py   libcurl; they know no provider
"""

from proxy.domain.devices import APNS_SANDBOX, Platform

APNS = Platform.APNS.value
MIPUSH = Platform.MIPUSH.value
HTTP = Platform.HTTP.value

__all__ = ["APNS", "APNS_SANDBOX", "HTTP", "MIPUSH"]

"""The ways to a phone. A channel's name is that of its platform, its folder and its section in the settings."""

from proxy.domain.devices import Platform

APNS = Platform.APNS.value
MIPUSH = Platform.MIPUSH.value

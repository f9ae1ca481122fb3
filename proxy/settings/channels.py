"""What the sections of all channels have in common."""

from proxy.settings.fields import Section


class ChannelSettings(Section):
    """A section of an app that opens a channel; it is called as the platform of the devices that it reaches."""

    @property
    def by_account(self) -> bool:
        """The account itself is the address: no device registers."""
        return False

"""Keys, secrets and certificates that lie in files are taken from them anew when they change, without a restart."""

from collections.abc import Callable

from proxy.errors import BadSettings
from proxy.files import WatchedFiles


class ChangedFiles:
    """`take` puts to use what the files say now; where it raises BadSettings or OSError what was in use stays.

    `on_fault` gets the reason, which repeats no secret.
    """

    def __init__(
        self, files: WatchedFiles, take: Callable[[], object], on_fault: Callable[[str], None] = lambda _: None
    ) -> None:
        self._files, self._take, self._on_fault = files, take, on_fault
        self._fault = ""

    def look(self) -> None:
        """Call it once a second or so."""
        if not self._files.changed():
            return
        self._fault = ""
        try:
            self._take()
        except (BadSettings, OSError) as error:
            self._fault = str(error) if isinstance(error, BadSettings) else type(error).__name__
            self._on_fault(self._fault)

    def details(self) -> dict[str, str]:
        """For /readyz: nothing, while what the files say is in use."""
        if not self._fault:
            return {}
        return {"files": f"what changed in a file cannot be used, and what was in use stays: {self._fault}"}

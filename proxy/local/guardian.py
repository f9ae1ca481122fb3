"""Ends what a run that was killed with SIGKILL leaves behind: `python -m proxy.local.guardian FOLDER`.

Its stdin is a pipe from the run. The kernel closes it, however the run ends; after an orderly end no process is
recorded any more.
"""

import sys
from datetime import timedelta
from pathlib import Path

from proxy.local.process_records import end_recorded
from proxy.local.state import recorded_in

_GRACE = timedelta(seconds=10)

if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_recorded(recorded_in(Path(sys.argv[1])), _GRACE)

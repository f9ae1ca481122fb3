"""Files that the wheel has beside the code.

In the project proxy/data has links: the files themselves lie in config/ and ops/systemd/, where people look for them.
"""

from pathlib import Path

DATA = Path(__file__).parent / "data"
SETTINGS = DATA / "proxy.toml"
LOCAL_CONFIG = DATA / "local.toml"
EMULATORS = DATA / "emulators.toml"
GUNICORN = DATA / "gunicorn.conf.py"
UNITS = tuple(DATA / f"app-proxy-{name}.service" for name in ("web", "worker"))

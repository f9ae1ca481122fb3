"""Would these settings work? Reads the files that they name, then asks the store, the issuers of JWTs, MIMC, Apple and
Xiaomi.

No phone gets an alert. Apple is asked for a device that cannot exist, Xiaomi on a route that only reads. MIMC is asked
for a token only where an account is named for that, because it makes a user of every account that it does not know.
What could not be tried is said beside what was found. The findings hold no secret and no address but those of the
settings.
"""

from proxy.check_config.advice import advice_for
from proxy.check_config.ages import inspect_ages
from proxy.check_config.clocks import ask_clocks
from proxy.check_config.environment import inspect_environment
from proxy.check_config.files import inspect_files
from proxy.check_config.finding import Finding
from proxy.check_config.services import ask_app, ask_services

__all__ = [
    "Finding",
    "advice_for",
    "ask_app",
    "ask_clocks",
    "ask_services",
    "inspect_ages",
    "inspect_environment",
    "inspect_files",
]

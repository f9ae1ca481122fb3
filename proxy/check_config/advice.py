"""What to do about a finding, where its own text does not say it."""

from fnmatch import fnmatchcase

from proxy.check_config.finding import Finding

# the first that fits: verdicts, places, what to do
_ADVICE = (
    ("*", "clock*", "let this machine and the store's follow a time server (chrony, systemd-timesyncd)"),
    ("fault", "apps.*.base_url", "see whether this machine may reach the host: firewall, proxy, DNS, and its clock"),
    ("warning", "store.spool_dir", "name a folder on a local disk that survives restarts in store.spool_dir"),
    ("fault", "store.*", "start the store, correct store.url, or mend what the line says"),
    ("warning", "store.*", "give the store `appendonly yes`, `appendfsync always`, `maxmemory-policy noeviction`"),
    ("fault", "apps.*.mipush.*", "take the AppSecret of the push console, and see that Xiaomi is reached"),
    ("warning", "apps.*.mipush.*", ""),
    ("warning", "apps.*.app_secret", "name an account of yours: app-proxy doctor --account NAME"),
    ("fault", "apps.*.app_secret", "compare app_id, app_key and app_secret with MIMC's console"),
    ("fault", "apps.*.apns.*key_file", "take the .p8 file as Apple gave it, or make a new key at developer.apple.com"),
    ("fault", "apps.*.apns.*", "compare team_id, key_id and topic with developer.apple.com; see that Apple is reached"),
    ("*", "apps.*.http.url", "see docs/channels-http.md, and the log of your own sender"),
    ("*", "apps.*.profiles.url", "see docs/profiles.md, and the log of your server of names"),
    ("*", "webhooks.*", "see docs/webhooks.md, and the log of your server"),
    ("*", "auth.jwt.*", "see docs/users.md"),
)  # fmt: skip


def advice_for(finding: Finding) -> str:
    """ "" where the finding's own text is all that there is to say."""
    if "chmod " in finding.text:
        return finding.text.rpartition(": ")[2]
    if "certificate" in finding.text or "is good until" in finding.text or " ended on " in finding.text:
        return "renew the certificate, or name its new authority in ca_file; of a provider's own see ca_file alone"
    found = (todo for verdict, place, todo in _ADVICE if _fits(finding, verdict, place))
    return next(found, "")


def _fits(finding: Finding, verdict: str, place: str) -> bool:
    return fnmatchcase(finding.verdict, verdict) and fnmatchcase(finding.place, place)

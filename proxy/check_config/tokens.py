"""Does MIMC's TokenService take an app's credentials? It answers HTTP 200 also where it does not."""

from proxy.check_config.addresses import TIMEOUT_S, host_of
from proxy.check_config.finding import Finding
from proxy.domain.transfers import TransportFailure
from proxy.mimc.client import TokenClient
from proxy.settings import AppSettings, TokenSettings
from proxy.strict_json import object_or_none

_PATIENCE = TokenSettings.model_validate({"connect_timeout_s": TIMEOUT_S, "timeout_s": TIMEOUT_S})


def ask_for_token(name: str, app: AppSettings, account: str) -> Finding:
    """Ask for the token of `account`, "" for not at all."""
    place, host = f"apps.{name}.app_secret", host_of(app.base_url)
    if not account:
        return Finding(
            "warning", place, "app_id, app_key and app_secret were not shown to MIMC",
            "a token call: name an account of yours with --account or check_account; MIMC makes one that it does not "
            "know",
        )  # fmt: skip
    answer = TokenClient({name: app}, _PATIENCE).issue(name, account)
    if isinstance(answer, TransportFailure):
        return Finding("fault", place, f"{host} gave no token: {answer.reason}")
    said = object_or_none(answer.body) or {}
    code, data = said.get("code"), said.get("data")
    if code == 200 and isinstance(data, dict) and data.get("token"):
        return Finding("ok", place, f"{host} gave a token for the account", "whether the SDK signs in with it")
    shown = f"code {code}" if isinstance(code, int) else "no code"
    return Finding(
        "fault", place, f"{host} refuses app_id, app_key and app_secret, or the account: HTTP {answer.status}, {shown}"
    )

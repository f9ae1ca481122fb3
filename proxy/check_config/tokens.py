"""Does MIMC's TokenService take an app's credentials? It answers HTTP 200 also where it does not."""

from proxy.check_config.addresses import TIMEOUT_S, host_of
from proxy.check_config.finding import Finding
from proxy.domain.transfers import Response
from proxy.mimc.client import TokenClient
from proxy.mimc.passable import Passable
from proxy.mimc.token_answer import reason_of
from proxy.settings import AppSettings, TokenSettings

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
    apps = {name: app}
    answer = TokenClient(apps, _PATIENCE, Passable(apps, _PATIENCE.echo_guard)).issue(name, account)
    reason = reason_of(answer)
    if reason is None:
        return Finding("ok", place, f"{host} gave a token for the account", "whether the SDK signs in with it")
    if isinstance(answer, Response):
        reason = f"it refuses app_id, app_key and app_secret, or the account: {reason}"
    return Finding("fault", place, f"{host} gave no token: {reason}")

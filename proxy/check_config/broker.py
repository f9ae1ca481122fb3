"""Does the running broker give an account its token? Asked as the account's app would ask."""

import requests

from proxy.check_config.addresses import TIMEOUT_S, host_of
from proxy.check_config.finding import Finding
from proxy.domain.transfers import Response
from proxy.mimc.token_answer import reason_of
from proxy.strict_json import object_or_none
from proxy.text import printable

_MEANING = {
    401: "the bearer is not accepted, or the account is blocked",
    403: "it is not this account's or app's",
    404: "this is no broker, or the app is not configured there",
    421: "it is called by a name that is not its own",
    429: "too many calls",
    503: "it cannot ask now",
    504: "MIMC did not answer it in time",
}


def ask_broker(url: str, bearer: str, app_id: str) -> Finding:
    """One token call to the broker at `url`; the token is looked for, and neither kept nor shown."""
    host = host_of(url)
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {bearer}"
            answer = session.post(
                f"{url.rstrip('/')}/api/account/token", json={"appId": app_id}, timeout=TIMEOUT_S, allow_redirects=False
            )
    except (requests.RequestException, OSError) as error:
        return Finding("fault", url, f"no answer from {host}: {type(error).__name__}; does `app-proxy web` run there?")
    reason = reason_of(Response(answer.status_code, {}, answer.content))
    if answer.status_code == 200 and reason is None:
        size = len(answer.content)
        return Finding("ok", url, f"the broker gave a MIMC token of appId {app_id}, in an answer of {size} bytes")
    if answer.status_code == 200:
        return Finding("fault", url, f"the broker passes on MIMC's refusal: {reason}")
    said = (object_or_none(answer.content) or {}).get("message")
    told = f' and says "{printable(said[:200])}"' if isinstance(said, str) else ""
    meaning = _MEANING.get(answer.status_code)
    return Finding(
        "fault", url, f"{host} answers HTTP {answer.status_code}{told}" + (f": {meaning}" if meaning else "")
    )

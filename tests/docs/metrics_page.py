"""docs/metrics.md, made from the program: every metric of web, worker and store, and what to do about it.

make metrics-page
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from proxy.store.server.embedded import ensure_store, stop_store
from tests.metric_catalogue import Described, catalogue

HEAD = """# Metrics

Made by `make metrics-page` from what the program counts; a test compares the two.

The web serves them at `server.operator_bind`, the worker at `relay.operator_bind`, under `/metrics` as Prometheus text.
Web processes of one machine answer together; each worker speaks for itself, so sum over them. What lies in the store
or in the spool is read when the web is asked, and is the same on every web that shares it: take the maximum. A series
with labels is there once something was counted in it. Labels are closed sets of ours or of the providers' documents: no
account, no token, nothing personal. Exemplars are off: with `relay.exemplars` the worker shows
`app_proxy_alert_seconds` with a `job_id`, which the log has, to a Prometheus that runs with
`--enable-feature=exemplar-storage`.

The alert rules are in [ops/prometheus/rules.yml](../ops/prometheus/rules.yml), and what to do about each in
[operations.md](operations.md#alert-rules); a dashboard for Grafana is in
[ops/grafana/dashboard.json](../ops/grafana/dashboard.json).
"""

PARTS: Mapping[str, str] = {
    "web": "Web",
    "worker": "Worker",
    "web and worker": "Web and worker",
    "store": "Store, shown by the web",
    "spool": "Spool, shown by the web",
}

# of each metric: what to do about it, or what it is good for
TO_DO: Mapping[str, str] = {
    "app_proxy_callbacks_total": "`unavailable` grows: mend the store, or give the web a spool. `refused`: someone "
    "knows no URL secret. `bad`: look at the log",
    "app_proxy_webhook_dropped_total": "grows: mend the endpoint, its lane is full",
    "app_proxy_callbacks_from_the_future_total": "grows: compare MIMC's clock and the store's",
    "app_proxy_key_since_timestamp_seconds": "years ago: rotate it; Apple's keys have no end",
    "app_proxy_certificate_end_timestamp_seconds": "less than 30 days away: "
    "[the certificate ends](operations.md#appproxycertificateends)",
    "app_proxy_token_calls_total": "`503` grows: the store or the TokenService is away. `401`, `403`: the callers",
    "app_proxy_token_answers_total": "no `token` among them: compare `app_key` and `app_secret` with MIMC's console",
    "app_proxy_api_calls_total": "one `answer` grows: look it up in MIMC's manual",
    "app_proxy_token_echoes_total": "above 0: `/readyz` says under `echo` what to do; take a new secret if it left",
    "app_proxy_jwks_fetched_timestamp_seconds": "over an hour old while users call: look at `jwks_url`",
    "app_proxy_callers_refused_total": "one `reason` grows suddenly: the issuer's keys or clock changed, or an attack",
    "app_proxy_rate_limited_total": "grows: a client in a loop, or a proxy that is not in `limits.trusted_proxies`",
    "app_proxy_rate_limiter_unavailable_total": "grows: the store of `limits.url` is away; calls pass uncounted",
    "app_proxy_push_tokens_moved_total": "grows faster than phones change hands: push tokens may be stolen",
    "app_proxy_connections_ended_total": "grows: [slow callers and crowds](operations.md#slow-callers-and-crowds)",
    "app_proxy_receipts_total": "`not ours` grows: someone else knows the address. `invalid target`: phones are gone",
    "app_proxy_receipts_dropped_total": "`store away`: mend the store. `too many`: add web processes",
    "app_proxy_delivery_seconds": "rises alone: the provider or the phones' network; nothing of ours",
    "app_proxy_token_call_seconds": "near `token.timeout_s`: MIMC or the way to it is slow",
    "app_proxy_spool_stored_total": "grows: the store is away, and nothing is lost yet",
    "app_proxy_spool_failures_total": "grows: free the spool's disk, mend the store",
    "app_proxy_spool_drained_total": "`unreadable` or `too_old` grows: look at the `*.bad` files",
    "app_proxy_mipush_quota_used": "over 0.8 of what is allowed: [the day's quota](mipush.md#the-days-quota)",
    "app_proxy_mipush_quota_allowed": "falls: ask Xiaomi; a channel type may have changed",
    "app_proxy_jobs_planned_total": "falls to 0 while callbacks come: look at `app_proxy_messages_planned_total`",
    "app_proxy_messages_planned_total": "says why messages make no alert: `app-proxy explain`",
    "app_proxy_requests_repeated_total": "grows: the network to the provider drops connections",
    "app_proxy_jobs_settled_total": "one `reason` grows: see the provider's own words, and `app-proxy explain`",
    "app_proxy_dead_letters_total": "grows: [dead letters](operations.md#dead-letters); mend the cause, then replay",
    "app_proxy_lane_pauses_total": "grows: [a lane is paused](operations.md#a-lane-is-paused)",
    "app_proxy_push_seconds": "rises: the provider or the way to it is slow",
    "app_proxy_alert_seconds": "its share within 5 s is the service's objective; falls: see what waits, and which lane",
    "app_proxy_leases_taken_over_total": "grows: workers die; look at memory limits and logs",
    "app_proxy_leases_lost_total": "grows: a worker is starved of CPU, or its store is slow",
    "app_proxy_profile_answers_total": "`failed` grows: your server of names; alerts go out without names",
    "app_proxy_history_lost_total": "grows: the store has no room; `app-proxy explain` has gaps",
    "app_proxy_connection_events_total": "`silent connection left` grows: something on the way drops connections",
    "app_proxy_log_lines_lost_total": "grows: free the log's disk, or start its reader",
    "app_proxy_log_line_lost_timestamp_seconds": "says until when lines are missing",
    "app_proxy_clock_skew_seconds": "over 60 either way: let the machine and the store follow a time server",
    "app_proxy_callbacks_waiting": "grows: no worker, or too few",
    "app_proxy_callbacks_oldest_seconds": "over 30: the same; it is the delay before any alert is planned",
    "app_proxy_dead_letters": "near `store.dead_letters_cap` the oldest go: replay or drop them",
    "app_proxy_jobs_waiting": "near `store.jobs_cap`: the lane is paused or the workers are too few",
    "app_proxy_jobs_oldest_seconds": "over 60 while the lane is not paused: too few workers, or a slow provider",
    "app_proxy_jobs_retrying": "grows: the provider fails; reasons in `app_proxy_jobs_settled_total`",
    "app_proxy_lane_paused": "1 for minutes: [a lane is paused](operations.md#a-lane-is-paused)",
    "app_proxy_lane_paused_by_kind": "`fault`: mend key, topic or quota. `breaker`: theirs. `rest`: they said when",
    "app_proxy_devices_removed": "a step: a release of your app, or the provider; `app-proxy devices restore`",
    "app_proxy_devices_kept_by_guard": "above 0: check topic, environment and package "
    "([why](operations.md#a-provider-calls-your-phones-dead))",
    "app_proxy_store_lost_timestamp_seconds": "recent: [the store lost data](operations.md#the-store-lost-data)",
    "app_proxy_spool_callbacks_waiting": "does not fall once the store is back: look at the web's log",
    "app_proxy_spool_bytes": "near `store.spool_max_bytes`: callbacks are answered 503 beyond it",
    "app_proxy_spool_oldest_seconds": "near `store.spool_max_age_s`: the same",
    "app_proxy_spool_files_unreadable": "above 0: look at the `*.bad` files, then delete them",
    "app_proxy_metrics_lost": "above 0: start the web anew; keep cleaners away from its folder",
    "app_proxy_store_up": "0: [the store is away](operations.md#the-store-is-away)",
}


def page(known: Sequence[Described]) -> str:
    names = {it.name for it in known}
    assert names == TO_DO.keys(), f"TO_DO has others: {sorted(names ^ TO_DO.keys())}"
    parts = [HEAD]
    for where, title in PARTS.items():
        rows = sorted((it for it in known if it.where == where), key=lambda it: it.name)
        parts += [f"## {title}\n", "| metric | type | labels | meaning | what to do |", "|---|---|---|---|---|"]
        parts += [*map(_row, rows), ""]
    return "\n".join(parts).rstrip() + "\n"


def _row(one: Described) -> str:
    labels = ", ".join(f"`{it}`" for it in one.labels) or "-"
    return f"| `{one.name}` | {one.kind} | {labels} | {one.meaning} | {TO_DO[one.name]} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="metrics-page-") as folder:
        try:
            sys.stdout.write(page(catalogue(ensure_store(Path(folder)))))
        finally:
            stop_store(Path(folder))

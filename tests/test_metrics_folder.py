"""The folder in which the web's processes count together is removed: they count on, each alone."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path


def counted(code: str, **variables: str) -> str:
    """What a process with these variables prints."""
    program = "from proxy import metrics\n" + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_without_the_folder_what_is_new_is_counted_by_the_process_alone(tmp_path: Path) -> None:
    code = """
    import os, shutil
    metrics.tokens_total.labels(200).inc()
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    metrics.tokens_total.labels(200).inc()
    metrics.tokens_total.labels(503).inc()
    metrics.clock_skew.labels("store").set(1)
    metrics.push_seconds.labels("apns").observe(1)
    print(metrics.exposition(web=True).decode())
    """
    text = counted(code, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert 'app_proxy_token_calls_total{status="200"} 2.0' in text
    assert 'app_proxy_token_calls_total{status="503"} 1.0' in text
    assert "app_proxy_metrics_lost 0.0" not in text


def test_a_worker_exposes_nothing_that_only_the_web_counts_and_no_created_series() -> None:
    text = counted("metrics.planned_total.labels('main', 'apns').inc()\nprint(metrics.exposition().decode())")
    assert "app_proxy_jobs_planned_total" in text
    assert "app_proxy_token_call" not in text
    assert "app_proxy_spool_stored" not in text
    assert "_created" not in text

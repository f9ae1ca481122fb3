"""The folder in which the web's processes count together: it is removed, its disk is full, its processes end."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from proxy.metric_files import reading, sweep


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


def test_without_the_folder_readyz_says_so_though_no_series_is_new(tmp_path: Path) -> None:
    code = """
    import os, shutil
    print(metrics.lost_details())
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    print(sorted(metrics.lost_details()))
    os.mkdir(os.environ["PROMETHEUS_MULTIPROC_DIR"])  # another folder of that name is not ours
    print(sorted(metrics.lost_details()))
    """
    assert counted(code, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)).split() == ["{}", "['metrics']", "['metrics']"]


def test_on_a_full_disk_series_without_a_place_are_counted_by_the_process_alone(tmp_path: Path) -> None:
    """A limit to the files' size plays the full disk, which would end a process that writes into a mapped page."""
    code = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, resource.RLIM_INFINITY))
    for number in range(1000):
        metrics.settled_total.labels("main", "apns", "rejected", f"{number:50}").inc()
    last = metrics.settled_total.labels("main", "apns", "rejected", f"{999:50}")
    print(sorted(metrics.lost_details()), last._value.get())
    print(metrics.exposition().decode().count('app_proxy_jobs_settled_total{'))
    """
    first, shared = counted(code, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)).splitlines()
    assert first == "['metrics'] 1.0"
    assert 0 < int(shared) < 1000


def test_lost_log_lines_are_told_with_their_number_and_time() -> None:
    told = counted("[metrics.count_lost_lines(lines) for lines in (3, 4)]\nprint(metrics.lost_details()['log lines'])")
    assert told.startswith("7 lost since the start, the last at 20")


def test_what_ended_processes_counted_stays_and_their_files_go(tmp_path: Path) -> None:
    code = """
    import os
    metrics.tokens_total.labels(200).inc(2)
    metrics.token_seconds.observe(0.02)
    metrics.clock_skew.labels("store").set(float(os.environ["SKEW"]))
    metrics.keys_fetched.labels("own").set(1)
    print(os.getpid())
    """
    folder = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for skew in ("3", "1"):
        assert sweep(tmp_path, int(counted(code, **folder, SKEW=skew)))
    assert {path.name for path in tmp_path.glob("*.db")} == {
        "counter_ended.db", "histogram_ended.db", "gauge_max_ended.db", "gauge_mostrecent_ended.db",
    }  # fmt: skip
    text = counted("metrics.tokens_total.labels(200).inc()\nprint(metrics.exposition().decode())", **folder)
    assert 'app_proxy_token_calls_total{status="200"} 5.0' in text
    assert 'app_proxy_token_call_seconds_bucket{le="0.025"} 2.0' in text
    assert 'app_proxy_clock_skew_seconds{source="store"} 1.0' in text
    assert "app_proxy_jwks_fetched" not in text


def test_nothing_is_swept_while_a_process_reads(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").touch()
    with reading(tmp_path):
        assert not sweep(tmp_path, 1)
    assert (tmp_path / "counter_1.db").exists()


def test_a_broken_file_is_swept_and_a_missing_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").write_bytes(b"\xff" * 100)
    assert sweep(tmp_path, 1)
    assert not (tmp_path / "counter_1.db").exists()
    assert sweep(tmp_path / "gone", 1)


def test_a_worker_exposes_nothing_that_only_the_web_counts_and_no_created_series() -> None:
    text = counted("metrics.planned_total.labels('main', 'apns').inc()\nprint(metrics.exposition().decode())")
    assert "app_proxy_jobs_planned_total" in text
    assert "app_proxy_token_call" not in text
    assert "app_proxy_spool_stored" not in text
    assert "_created" not in text

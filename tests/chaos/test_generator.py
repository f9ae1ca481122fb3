"""The generator says everything until it is taken, as often as MIMC does, over real connections."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.chaos.generator import Generator
from tests.chaos.runlog import RunLog, read_run_log
from tests.chaos.size import SHORT, Size

QUICK = replace(SHORT, messages=120, pace=1200, repeat_after_s=(0.02, 0.04, 0.06), notice_within_s=0.3)


@contextmanager
def web(*statuses: int) -> Iterator[int]:
    """The port of a server that answers each body with these in turn, the last for ever. 0: it hangs up."""
    seen: Counter[bytes] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = statuses[min(seen[body], len(statuses) - 1)]
            seen[body] += 1
            if not status:
                self.close_connection = True
                return
            answer = json.dumps({"code": status, "message": "", "data": {"duplicate": seen[body] > 1}}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its own name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def run(folder: Path, *statuses: int, size: Size = QUICK) -> list[dict[str, Any]]:
    """What was posted."""
    path = folder / "run.jsonl"
    with web(*statuses) as port, RunLog(path) as log:
        asyncio.run(Generator(1, size, port, log).run())
    return [event for event in read_run_log(path) if event["event"] == "posted"]


def attempts(posted: list[dict[str, Any]]) -> Counter[int]:
    """How many callbacks were posted how often, not counting twins and what MIMC did not hear."""
    often = Counter(post["callback"] for post in posted)
    firsts = Counter(post["callback"] for post in posted if post["attempt"] == 1)
    return Counter(often[number] for number in often if firsts[number] == 1)


def test_what_is_answered_200_is_not_said_again_unless_the_answer_was_not_heard(tmp_path: Path) -> None:
    posted = run(tmp_path, 200)
    late = {post["callback"] for post in posted if post["status"] != 200}  # a slow machine's, and said again
    counted = attempts([post for post in posted if post["callback"] not in late])
    assert set(counted) == {1, 2}
    assert counted[1] > 5 * counted[2] > 0
    assert any(post["duplicate"] for post in posted)


def test_what_is_refused_or_hung_up_on_comes_again_until_it_is_taken(tmp_path: Path) -> None:
    posted = run(tmp_path, 503, 0, 200, size=replace(QUICK, messages=40))
    taken = {post["callback"] for post in posted if post["status"] == 200}
    assert taken == {post["callback"] for post in posted}
    counted = attempts(posted)
    assert min(counted) == counted.most_common(1)[0][0] == 3  # a slow machine may not answer one of them in time


def test_after_four_times_nobody_says_it_again(tmp_path: Path) -> None:
    posted = run(tmp_path, 503, size=replace(QUICK, messages=20))
    assert set(attempts(posted)) == {4}
    by_callback = {post["callback"]: post for post in posted}
    assert max(post["attempt"] for post in by_callback.values()) == 4


def test_twins_are_posted_side_by_side(tmp_path: Path) -> None:
    posted = run(tmp_path, 200)
    twins = [post for post in posted if post["attempt"] == 1]
    by_callback: dict[int, list[dict[str, Any]]] = {}
    for post in twins:
        by_callback.setdefault(post["callback"], []).append(post)
    pairs = [pair for pair in by_callback.values() if len(pair) == 2]
    assert pairs
    assert any(one["asked_ms"] <= other["ms"] and other["asked_ms"] <= one["ms"] for one, other in pairs)

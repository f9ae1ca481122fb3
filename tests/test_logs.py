import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.logs import MASK, mask, redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl-_"
CANARY = "cAnArY-42_x"


def logged(code: str, form: str = "json", level: str = "info") -> str:
    """What a process writes to stderr that configures its logs and then runs the code."""
    imports = "import logging, structlog\nfrom proxy.logs import configure_logs, log_event\n"
    start = f"{imports}configure_logs({form!r}, {level!r})\n"
    program = start + "log = structlog.get_logger()\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == ""
    return done.stderr


def test_an_event_is_one_line_of_json_with_time_level_and_facts() -> None:
    (line,) = logged("log.info('push accepted', channel='apns', attempt=2, who='小明')").splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {"event": "push accepted", "level": "info", "channel": "apns", "attempt": 2, "who": "小明"}


def test_a_frequent_event_is_such_a_line_too_and_its_reason_is_masked() -> None:
    (line,) = logged(f"log_event('push settled', job_id='j1', attempt=2, reason='at /3/device/{CANARY}')").splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {
        "event": "push settled", "level": "info", "job_id": "j1", "attempt": 2, "reason": "at /3/device/***",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_field_that_is_not_known_to_be_safe_is_redacted_in_a_frequent_event_too(form: str) -> None:
    out = logged(f"log_event('odd', push_token='{CANARY}', account='Bearer {CANARY}')", form)
    assert "odd" in out
    assert CANARY not in out


def test_a_frequent_event_below_the_level_is_not_written() -> None:
    assert logged("log_event('push settled', job_id='j1')", level="warning") == ""


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_name_writes_a_line_of_its_own_or_obeys_a_terminal(form: str) -> None:
    shown = logged("log.info('odd', account='张三\\n\\x85\\x9b31m\\u202e')", form)
    assert shown.removesuffix("\n").isprintable()
    assert "张三\\n\\u0085\\u009b31m\\u202e" in shown


def test_events_below_the_level_are_not_written() -> None:
    assert logged("log.info('a')\nlog.debug('b')", level="warning") == ""
    assert "b" in logged("log.debug('b')", level="debug")


def test_an_exception_is_told_without_local_variables_and_foreign_words() -> None:
    line = logged(
        f"""
        def fail():
            words = '{CANARY}' * 2
            raise ValueError('invalid literal for int(): {CANARY}')
        try:
            fail()
        except ValueError:
            log.exception('failed')
        """
    )
    (told,) = json.loads(line)["exception"]
    assert (told["exc_type"], told["exc_value"]) == ("ValueError", MASK)
    assert told["frames"][-1]["name"] == "fail"
    assert CANARY not in line


CHAIN = f"""
from proxy.errors import StoreUnavailable
canary = '{CANARY}'
def chain():
    try:
        int(canary)
    except ValueError as error:
        raise ExceptionGroup(canary, [StoreUnavailable('the store is away'), KeyError(canary)]) from error
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_causes_and_parts_of_an_exception_are_told_too(form: str) -> None:
    out = logged(CHAIN + "\ntry:\n    chain()\nexcept ExceptionGroup:\n    log.exception('failed')", form)
    for word in ("ExceptionGroup", "StoreUnavailable", "the store is away", "KeyError", "ValueError"):
        assert word in out
    assert CANARY not in out


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_nobody_caught_is_told_as_any_event(form: str) -> None:
    program = f"from proxy.logs import configure_logs\nconfigure_logs({form!r})\n{CHAIN}\nchain()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "ended by an error" in done.stderr
    assert "the store is away" in done.stderr
    assert CANARY not in done.stderr


@pytest.mark.parametrize("form", ["json", "console"])
def test_libraries_speak_in_the_same_form_from_warning_on(form: str) -> None:
    out = logged(
        f"""
        for name in ('gunicorn.error', 'redis', 'werkzeug'):
            logging.getLogger(name).warning('odd: %s', '/callbacks/mimc/{CANARY}')
            logging.getLogger(name).info('ordinary')
        """,
        form,
    )
    assert out.count("odd: /callbacks/mimc/***") == len(out.splitlines()) == 3
    assert "gunicorn.error" in out


def test_a_library_s_handlers_and_access_log_write_no_path() -> None:
    code = f"""
    access = logging.getLogger('gunicorn.access')
    access.addHandler(logging.StreamHandler())
    access.propagate = False
    configure_logs()
    access.setLevel('INFO')
    access.info('POST /callbacks/mimc/{CANARY}')
    """
    assert logged(code) == ""


def test_a_library_s_exception_has_its_secrets_masked() -> None:
    code = f"""
    try:
        raise OSError('redis://user:{CANARY}@store refused')
    except OSError:
        logging.getLogger('x').exception('broken')
    """
    for form in ("json", "console"):
        out = logged(code, form)
        assert CANARY not in out
        assert "redis://***@store refused" in out


def test_the_console_form_is_for_eyes_and_redacted_too() -> None:
    out = logged(f"log.warning('odd', push_token='{CANARY}', url='https://x/3/device/{CANARY}')", "console")
    assert "warning" in out
    assert CANARY not in out


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"got {JWT} there", "got *** there"),
        (f"Authorization: Bearer {CANARY}", "Authorization: Bearer ***"),
        (f"ak_{'0f' * 32}", "***"),
        (f"ak_{'0f' * 15}", "***"),
        ("ak_system", "ak_system"),
        (f"authorization: key={CANARY}", "authorization: key=***"),
        (f"POST /callbacks/mimc/{CANARY}?x=1 HTTP/1.1", "POST /callbacks/mimc/*** HTTP/1.1"),
        (f"/callbacks/mipush/{CANARY}", "/callbacks/mipush/***"),
        (f"https://api.push.apple.com/3/device/{'ab' * 32}", "https://api.push.apple.com/3/device/***"),
        (f"rediss://:{CANARY}@host:6379/0", "rediss://***@host:6379/0"),
        (f"{{'appSecret': '{CANARY} {CANARY}', 'n': 1}}", "{'appSecret': ***, 'n': 1}"),
        (f'{{"app_secret":"{CANARY}","token": "{CANARY}"}}', '{"app_secret":***,"token": ***}'),
        (f"?token={CANARY}&x=1", "?token=***&x=1"),
        (f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY----- end", "*** end"),
        (f"-----BEGIN PRIVATE KEY-----\n{CANARY}", "***"),
        ("0f" * 40, "***"),
    ],
)
def test_what_looks_like_a_secret_is_masked_in_any_text(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    ["push accepted", "410 Unregistered", "key_id ABCDE12345", "apps.main.apns", "/readyz", "the bearer has expired",
     "https://api.push.apple.com/3", "bad token", "idempotency_key", "BadDeviceToken"],
)  # fmt: skip
def test_ordinary_words_stay(text: str) -> None:
    assert mask(text).replace("bearer ***", "bearer has") == text


KEYS = ["authorization", "Cookie", "push_token", "pushToken", "app_secret", "appSecret", "app_key", "payload", "text",
        "password", "url_secret", "x-refresh-token", "miUserSecurityKey", "regId", "tokens"]  # fmt: skip
WRAPS: list[Any] = [
    lambda event: event, lambda event: {"deep": [event]}, lambda event: {"deep": ({"deeper": event},)},
]  # fmt: skip


@given(st.sampled_from(KEYS), st.sampled_from(WRAPS), st.text(max_size=5), st.sampled_from([str, str.encode, list]))
def test_a_value_under_a_telling_key_never_comes_out(key: str, wrap: Any, noise: str, kind: Any) -> None:
    event = wrap({key: kind(noise + CANARY), "channel": "apns"})
    out = repr(redact(None, "info", event))
    assert CANARY not in out
    assert repr(list(CANARY))[1:-1] not in out
    assert "apns" in out


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_jwt_or_a_callback_s_path_never_comes_out(before: str, after: str) -> None:
    text = f"{before} {JWT} {after} /callbacks/mimc/{CANARY} Bearer {CANARY}"
    for value in (text, [text], {"x": {"y": text}}, ValueError(text), {text: 1}):
        out = str(redact(None, "info", {"event": value}))
        assert JWT not in out
        assert CANARY not in out


def test_facts_that_are_not_secret_stay_as_they_are() -> None:
    event = {"event": "settled", "job_id": "j1", "n": 3, "ok": True, "none": None, "apns_topic": "com.example",
             "key_id": "ABCDE12345", "tokens_total": 4, "token": None}  # fmt: skip
    assert redact(None, "info", dict(event)) == event


def test_bytes_are_only_counted() -> None:
    assert redact(None, "info", {"answer": b"abc"}) == {"answer": "3 bytes"}

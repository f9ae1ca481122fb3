"""All that is fuzzed, by name. Each is made when it is needed."""

from collections.abc import Callable, Mapping

from tests.fuzz import bearers, requests, texts
from tests.fuzz.loop import Target

TARGETS: Mapping[str, Callable[[], Target]] = {
    make.__name__: make
    for make in (
        texts.callbacks, texts.authentication, texts.payloads, texts.records, texts.answers, texts.spool_files,
        bearers.bearers, requests.mimc_control, requests.mimc_api, requests.mipush_control, requests.apns_control,
        requests.sender, requests.web,
    )
}  # fmt: skip

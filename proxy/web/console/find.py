"""What became of messages: by account, device, message, conversation or time, with the reason where no alert came."""

from typing import Any

from flask import Response, request

from proxy.domain.history import KEPT
from proxy.domain.timeline import Event, Story, stories
from proxy.domain.webhooks import is_webhook
from proxy.store.tracing import Question, Tracer
from proxy.web import current_services
from proxy.web.console.blueprint import bp
from proxy.web.console.moments import moment
from proxy.web.console.pages import page
from proxy.web.console.rules import private
from proxy.web.console.visitors import console_services

MOST = 200  # notes of an appId on a page
_UNENDED = 500  # records of each stream of what waits: what decodes them has other things to do
_MOST_CHARACTERS = 1024
_FIELDS = ("account", "device", "message", "conversation", "since", "until", "app")


@bp.get("/find")
@private
def find() -> Response:
    asked = {name: request.args.get(name, "").strip()[:_MOST_CHARACTERS] for name in _FIELDS}
    apps = sections()
    found = _found(asked, apps) if any(asked[name] for name in _FIELDS[:-1]) else None
    return page("find", asked=asked, apps=apps, found=found, most=MOST)


def sections() -> list[str]:
    """The first section of each appId."""
    apps = current_services().settings.apps
    return list({app.app_id: name for name, app in reversed(apps.items())}.values())[::-1]


def tracer() -> Tracer:
    services, console = current_services(), console_services()
    app_ids = {name: app.app_id for name, app in services.settings.apps.items()}
    lanes = [lane for lane in console.lanes if not is_webhook(lane.channel)]
    return Tracer(console.store, app_ids, lanes, MOST, _UNENDED)


def _found(asked: dict[str, str], apps: list[str]) -> list[dict[str, Any]]:
    now = current_services().store_now()
    since, until = moment(asked, "since"), moment(asked, "until")
    question = Question(
        max(since or now - KEPT, now - KEPT),
        until,
        asked["message"] or None,
        asked["account"] or None,
        asked["device"] or None,
        _conversation(asked["conversation"]),
    )
    trace = tracer()
    chosen = [name for name in apps if asked["app"] in ("", name)]
    found = [trace.find(section, question, now) for section in chosen]
    return [
        {"section": section, "all": one, "stories": [_shown(story) for story in reversed(stories(one.noted))]}
        for section, one in zip(chosen, found, strict=True)
    ]


def _conversation(text: str) -> str | None:
    """As the history names it; what has no kind before it is the id of a group."""
    if not text:
        return None
    return text if text.startswith(("p2p:", "topic:")) else f"topic:{text}"


def _shown(story: Story) -> dict[str, Any]:
    return {
        "message_id": story.message_id,
        "conversation": story.conversation,
        "lines": [_line(it) for it in story.events],
    }


def _line(event: Event) -> dict[str, Any]:
    return {"event": event, "step": f"find.step.{event.step.name.lower()}"}

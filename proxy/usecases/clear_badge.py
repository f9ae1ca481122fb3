"""A user has read a conversation, or all of them: the number on their phones is to follow."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta

from proxy.domain.alerts import Alert, AlertText, Order, Update
from proxy.domain.callbacks import digest
from proxy.domain.devices import BADGED_ALONE, Device
from proxy.domain.jobs import Job
from proxy.domain.kinds import Kind
from proxy.domain.lanes import Lane
from proxy.domain.times import to_ms
from proxy.errors import BadRequest
from proxy.usecases.edit_preferences import conversation_of

_LIFE = timedelta(hours=1)  # a later one will say it better


def read_conversation(asked: Mapping[str, object]) -> str:
    """The conversation from the client's JSON object, "" where it names none; "app" is for the caller.

    Raises BadRequest naming the first member of another shape.
    """
    if asked.keys() - {"app", "conversation"}:
        raise BadRequest("body", expected="no members but app, conversation", got=dict(asked))
    named = asked.get("conversation")
    if named is None:
        return ""
    if not isinstance(named, dict) or named.keys() - {"account", "topic_id"}:
        raise BadRequest("conversation", expected="an object with account or topic_id", got=named)
    return conversation_of(named, "conversation")


def badge_jobs(
    app_id: str, devices: Sequence[Device], now: datetime, platforms: Container[str] = BADGED_ALONE
) -> list[tuple[Lane, Job]]:
    """Jobs that tell these iPhones of one account the number as it is when they are pushed.

    `platforms`: those that the section has a channel for; in the lane of another a job would wait for ever.
    """
    order = Order(0, 0, to_ms(now))
    return [
        (
            Lane(app_id, device.app, device.channel),
            Job(
                device.app,
                device.channel,
                device.account,
                device.device_id,
                Alert(
                    digest("badge", device.account, str(order.accepted_at_ms)),
                    "",
                    AlertText("", "", Kind.NEW),
                    order,
                    now + _LIFE,
                    update=Update.BADGE,
                ),
                token_digest=device.token_digest,
            ),
        )
        for device in devices
        if device.platform in BADGED_ALONE and device.platform in platforms
    ]

"""How a dead letter is shown: a line for many, a page for one; nothing that people wrote."""

from datetime import datetime
from typing import Any

from proxy.commands import as_json
from proxy.domain.alerts import Order
from proxy.domain.dead_letters import DeadLetter, Unread
from proxy.domain.forwards import Forward
from proxy.domain.jobs import Job
from proxy.domain.offline_messages import OfflineMessage


def line_of(letter: DeadLetter) -> str:
    """One line of JSON with the same members for all."""
    job = letter.subject if isinstance(letter.subject, Job) else None
    return as_json({
        "id": letter.id, "app_id": letter.app_id, "at": _time(letter.at), "kind": letter.kind, "cause": letter.cause,
        "reason": letter.reason, "app": letter.app, "channel": letter.channel,
        "account": job.account if job else "", "device_id": job.device_id if job else "",
        "job_id": job.id if job else "", "message_id": _message_id(letter),
        "attempt": letter.subject.attempt if isinstance(letter.subject, Job | Forward) else 0,
    })  # fmt: skip


def page_of(letter: DeadLetter, words_until: datetime | None) -> str:
    """All that is known, as indented JSON. `words_until`: a replay can show the alert as it was until then."""
    page: dict[str, Any] = {
        "id": letter.id, "app_id": letter.app_id, "at": _time(letter.at), "cause": letter.cause,
        "reason": letter.reason, "words_until": words_until and _time(words_until),
    }  # fmt: skip
    match letter.subject:
        case Job() as job:
            page |= {
                "job": _job(job),
                "history": [{"at": _time(past.at), "reason": past.reason} for past in job.history],
            }
        case OfflineMessage() as message:
            page["callback"] = _callback(message)
        case Forward() as forward:
            page["webhook"] = {
                "webhook_id": forward.id, "app": forward.app, "channel": forward.channel,
                "callback_kind": forward.kind, "attempt": forward.attempt,
            }  # fmt: skip
        case Unread(app, channel, size):
            page["record"] = {"from": f"lane {app}/{channel}" if app else "callbacks", "bytes": size}
        case None:
            page["record"] = None
    return as_json(page, indent=2)


def outcome_line(letter: DeadLetter, result: str, **more: Any) -> str:
    """What became of a dead letter, as one line of JSON."""
    facts = {"id": letter.id, "app_id": letter.app_id, "kind": letter.kind, "result": result}
    job_id = {"job_id": letter.subject.id} if isinstance(letter.subject, Job) else {}
    times = {
        name: _time(fact) if isinstance(fact, datetime) else fact for name, fact in more.items() if fact is not None
    }
    return as_json(facts | job_id | times)


def _job(job: Job) -> dict[str, Any]:
    alert = job.alert
    return {
        "id": job.id, "app": job.app, "channel": job.channel, "account": job.account, "device_id": job.device_id,
        "message_id": alert.message_id, "conversation": alert.conversation, **_order(alert.order),
        "expires_at": _time(alert.expires_at), "attempt": job.attempt, "second_chance": job.second_chance,
    }  # fmt: skip


def _callback(message: OfflineMessage) -> dict[str, Any]:
    return {
        "message_id": message.message_id, "conversation": message.conversation, "sender": message.sender,
        "biz_type": message.biz_type, **_order(message.order),
        "recipients": [
            {"account": one.account, **({"resources": list(one.resources)} if one.resources else {})}
            for one in message.recipients
        ],
    }  # fmt: skip


def _order(order: Order) -> dict[str, Any]:
    return {"sequence": str(order.sequence), "sent_at_ms": order.sent_at_ms, "accepted_at_ms": order.accepted_at_ms}


def _message_id(letter: DeadLetter) -> str:
    match letter.subject:
        case Job() as job:
            return job.alert.message_id
        case OfflineMessage() as message:
            return message.message_id
        case _:
            return ""


def _time(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds")

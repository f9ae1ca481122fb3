"""A message that no person wrote, to hear whether an account's phones ring."""

from datetime import datetime, timedelta

from proxy.domain.alerts import AlertText
from proxy.domain.callbacks import Recipient, digest
from proxy.domain.devices import Device
from proxy.domain.jobs import Job
from proxy.domain.offline_messages import Letter, OfflineMessage

SENDER = "app-proxy send-test"  # phones show it where a message shows its writer


def trial_letter(app_id: str, account: str, unique: str, now: datetime) -> Letter:
    """What the inbox takes for a message to `account` that found them offline. `unique`: no other has this text.

    It goes the way of all others, from the plan on: what mutes, hides or blocks alerts of this account counts for it.
    No webhook gets it, for MIMC posted no callback.
    """
    message_id, text = digest("send-test", unique), _words(now)
    message = OfflineMessage(
        message_id, app_id, f"p2p:{SENDER}", SENDER, (Recipient(account),), text.encode(), "TEXT", "", 0, now
    )
    return Letter(message, digest("send-test callback", message_id))


def trial_job(app_id: str, device: Device, unique: str, now: datetime, life: timedelta) -> Job:
    """The same for this device alone, at its present address: it is not planned, so mutes and a login that is online
    do not hold it back. A block of the account does. It counts as no unread message.
    """
    message = trial_letter(app_id, device.account, unique, now).message
    alert = message.alert(AlertText(SENDER, _words(now)), life)
    return Job(
        device.app, device.channel, device.account, device.device_id, alert,
        token_digest=device.token_digest, first_platform=device.first_platform,
    )  # fmt: skip


def _words(now: datetime) -> str:
    return f"A test alert, {now:%H:%M:%S} UTC"

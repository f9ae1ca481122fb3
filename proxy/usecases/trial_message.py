"""A message that no person wrote, to hear whether an account's phones ring."""

from datetime import datetime

from proxy.domain.callbacks import Recipient, digest
from proxy.domain.offline_messages import Letter, OfflineMessage

SENDER = "app-proxy send-test"  # phones show it where a message shows its writer


def trial_letter(app_id: str, account: str, unique: str, now: datetime) -> Letter:
    """What the inbox takes for a message to `account` that found them offline. `unique`: no other has this text.

    It goes the way of all others, from the plan on: what mutes, hides or blocks alerts of this account counts for it.
    No webhook gets it, for MIMC posted no callback.
    """
    message_id = digest("send-test", unique)
    text = f"A test alert, {now:%H:%M:%S} UTC"
    message = OfflineMessage(
        message_id, app_id, f"p2p:{SENDER}", SENDER, (Recipient(account),), text.encode(), "", "", 0, now
    )
    return Letter(message, digest("send-test callback", message_id))

"""Which webhooks get a callback, and what they get."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy.domain.callbacks import Callback, Ignored, digest
from proxy.domain.forwards import Copy, Forward
from proxy.domain.offline_messages import Letter, OfflineMessage, offline_message
from proxy.domain.webhooks import Webhook
from proxy.usecases.accept_callback import Acceptance, is_stale


@dataclass(frozen=True)
class Copying:
    """The webhooks of each appId. `bare` takes from a body what would let whoever reads it forge callbacks."""

    webhooks: Mapping[str, Sequence[Webhook]]
    bare: Callable[[bytes], bytes]

    def with_copies(
        self,
        judged: Acceptance | Letter,
        callback: Callback | Ignored,
        body: bytes,
        app_id: str,
        *,
        now: datetime,
        second_clock: Callable[[], datetime | None],
        dedupe_ttl: timedelta,
    ) -> Acceptance | Letter:
        """What is put in the inbox: `judged` with a copy for each webhook that takes the callback.

        Where there is nothing to plan the letter is for webhooks alone. A stale callback goes nowhere: the store no
        longer knows whether it had it.
        """
        its = [webhook for webhook in self.webhooks.get(app_id, ()) if webhook.takes(callback)]
        if not its:
            return judged
        if isinstance(callback, Callback) and is_stale(
            callback, now=now, second_clock=second_clock, dedupe_ttl=dedupe_ttl
        ):
            return Acceptance.STALE
        bare = self.bare(body)
        if isinstance(judged, Letter):
            message, callback_id = judged.message, judged.callback_id
        else:
            message, callback_id = _not_planned(callback, app_id, bare, now)
        copies = tuple(
            Copy(
                webhook.lane,
                Forward(
                    app=webhook.lane.app,
                    channel=webhook.lane.channel,
                    id=callback_id,
                    kind=str(callback.kind),
                    until=now + webhook.life,
                    body=body if webhook.passes_authentication else bare,
                ),
                webhook.most,
            )
            for webhook in its
        )
        return Letter(message, callback_id, copies, is_planned=isinstance(judged, Letter))


def _not_planned(callback: Callback | Ignored, app_id: str, bare: bytes, now: datetime) -> tuple[OfflineMessage, str]:
    """A message without readers, of which no program makes an alert; and what names the callback.

    One that we do not read is named by all of its body but the proof, which a repeat may carry anew.
    """
    if isinstance(callback, Callback):
        message = offline_message(callback, now)
        nobody = OfflineMessage(
            message.message_id, app_id, message.conversation, message.sender, (), b"", "", message.sequence,
            message.sent_at_ms, now,
        )  # fmt: skip
        return nobody, callback.callback_id
    name = digest("callback", callback.kind, app_id, bare)
    return OfflineMessage(name, app_id, "", "", (), b"", "", "", 0, now), name

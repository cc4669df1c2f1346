"""MongoDB does not answer: said in Slack directly, as there is nowhere to keep an incident.

The message is its own record: whoever starts while MongoDB is down looks for it in the channel before posting another.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from alerting import routes
from alerting.delivery import Sender
from alerting.slack.blocks import direct
from alerting.slack.client import DeliveryError, Posted
from config.settings import Settings

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
"""Between two looks whether MongoDB is back."""
GRACE_SECONDS: Final = 20.0
"""How long MongoDB may be away before that is told: an election takes up to 12 s."""
FOLLOWER_SECONDS: Final = 30.0
"""How much longer a notifier waits that was not the leader: the one that was speaks first."""
LOOK_BACK: Final = timedelta(days=2)
"""How old a message may be that still stands for this outage."""
AGAIN_SECONDS: Final = 30.0
"""Between two attempts to say so, where Slack does not answer either."""


class Watch:
    """What one notifier knows of whether MongoDB answers."""

    def __init__(
        self, settings: Settings, sender: Sender, clock: Callable[[], datetime], grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self._name = f"mongodb-{settings.mongo.database}"
        self._channels = routes.channels(settings) or [""]
        self._channel = self._channels[0]
        self._sender = sender
        self._clock = clock
        self._grace = grace_seconds
        self._leads = False
        self._down_since: float | None = None
        self._since = clock()
        self._tried = self._again = 0.0
        self._posted: Posted | None = None
        self._may_be_told = False
        """That MongoDB does not answer, by whomever."""

    def well(self, *, leads: bool, doubtful: bool = False) -> None:
        """MongoDB answers; the leader says so where it was told that it does not.

        doubtful: the leader before us did not say goodbye, perhaps as it could not.
        """
        self._leads = leads
        self._down_since = None
        self._may_be_told |= doubtful
        now = time.monotonic()
        if not (leads and self._may_be_told) or now - self._tried < self._again:
            return
        self._tried = now
        try:
            self._posted = self._posted or self._find()
            if self._posted is not None:
                self._say(over=True)
        except DeliveryError as error:
            log.warning("cannot say that MongoDB is back", extra={"code": error.code})
            self._again = AGAIN_SECONDS
            if not error.permanent:
                return
        self._again = 0.0
        self._posted, self._may_be_told = None, False

    def failed(self) -> None:
        """MongoDB does not answer; says so once, when that has lasted."""
        now = time.monotonic()
        if self._down_since is None:
            self._down_since, self._since = now, self._clock()
        patience = self._grace if self._leads else self._grace + FOLLOWER_SECONDS
        if self._posted is not None or now - self._down_since < patience or now - self._tried < self._again:
            return
        self._tried, self._may_be_told = now, True
        try:
            self._posted = self._standing() or self._say(over=False)
            self._again = 0.0
        except DeliveryError as error:
            log.warning("cannot say that MongoDB does not answer", extra={"code": error.code})
            self._again = max(AGAIN_SECONDS, error.retry_after or 0.0)

    def _standing(self) -> Posted | None:
        """As `_find`; where nobody may look, to say it twice is better than not at all."""
        try:
            return self._find()
        except DeliveryError as error:
            if error.permanent:
                return None
            raise

    def _find(self) -> Posted | None:
        """The message that says so already, if nothing has taken it back."""
        if not self._sender.can_edit:
            return None
        found = self._sender.posted(self._channel, self._clock() - LOOK_BACK)
        return found.get((self._name, 0, "direct"))

    def _say(self, *, over: bool) -> Posted:
        title = "MongoDB answers again" if over else "MongoDB does not answer"
        text = (
            "The notifier goes on: what is owed is told now."
            if over
            else "Nothing can be checked or kept until it does. What is kept already is not lost, and is told then."
        )
        payload = direct(self._name, title, text, at=self._since, over=over)
        if over and self._posted is not None and self._sender.can_edit:
            self._sender.update(self._posted, payload)
            return self._posted
        for channel in self._channels:
            try:
                posted = self._sender.post(channel, payload)
            except DeliveryError as error:
                if not error.permanent or channel == self._channels[-1]:
                    raise
                log.warning("a channel refuses: the next one is told", extra={"channel": channel, "code": error.code})
            else:
                self._channel = channel
                return posted
        raise DeliveryError("no_channel", permanent=True)

"""When a channel may be spoken to again: one message a second, and longer after it refused. Pure but for its memory.

Times are seconds of a monotonic clock.
"""

import random
from dataclasses import dataclass, field
from typing import Final

SECONDS: Final = 1.0
"""Between two messages to one channel: docs.slack.dev, "Rate limits", "Posting messages"."""
LONGEST: Final = 60.0
"""Between two attempts, however often they failed."""


FAILING: Final = 3
"""So many failures in a row are no hiccup."""


@dataclass(slots=True)
class Pace:
    """What is known of the channels."""

    seconds: float = SECONDS
    _free_at: dict[str, float] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)

    def is_free(self, channel: str, now: float) -> bool:
        """Whether it may be spoken to."""
        return now >= self._free_at.get(channel, now)

    def wait(self, now: float) -> float | None:
        """How long until the next channel that is not free becomes so; None if all are."""
        return min((at - now for at in list(self._free_at.values()) if at > now), default=None)

    @property
    def is_failing(self) -> bool:
        """Whether a channel has refused several times in a row, and did so last."""
        return any(count >= FAILING for count in list(self._failures.values()))

    def sent(self, channel: str, now: float) -> None:
        """It took a message."""
        self._failures.pop(channel, None)
        self._free_at[channel] = now + self.seconds

    def failed(self, channel: str, now: float, retry_after: float | None = None) -> None:
        """It did not: wait as it says, else ever longer, and not as long as everybody else."""
        count = self._failures[channel] = self._failures.get(channel, 0) + 1
        longer = min(LONGEST, self.seconds * 2.0 ** min(count - 1, 10)) * random.uniform(1.0, 1.5)  # noqa: S311 - no secret
        self._free_at[channel] = now + (longer if retry_after is None else max(retry_after, self.seconds))

"""What the tests of the client share: a message, and how a call fails."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from alerting.slack import blocks
from alerting.slack.client import DeliveryError
from alerting.slack.samples import samples

NOW = datetime(2026, 5, 2, 3, 14, tzinfo=UTC)
PAYLOAD = blocks.root(samples(NOW)[0], NOW)


def failure(act: Callable[[], object]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        act()
    return caught.value


def since() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=1)

"""Open incidents about what is no longer configured: nobody will look at it again, and so nothing else ends them."""

from collections.abc import Iterator
from typing import Final

from alerting.configured import Configured
from alerting.evidence.view import View, passed
from alerting.folding import TICK
from alerting.reports import Report

TOLD: Final = "it is no longer configured"


def passes(view: View, configured: Configured) -> Iterator[Report]:
    """An end for each of them."""
    for incident in view.open.values():
        if configured.is_retired(incident.key, incident.kind):
            for window in incident.failing:
                yield passed(incident, window, max(view.now, incident.marks[window].at + TICK), TOLD)

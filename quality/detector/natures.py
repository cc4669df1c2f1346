"""Which measures are judged, and what kind of number each is: by its name, as `quality.tally` and Gold give it. Pure.

Not judged: minima and maxima (one odd row makes them), what receipts and the quarantine say (rules hold these), and how
far a day is covered.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """What kind of number a measure is; see `quality.detector.panel.Measure`, whose words these are."""

    nature: str
    behind: str | None = None
    volume: bool = False
    harm: str | None = None
    ages: float = 0.0


AMOUNT: Final = "amount"
"""A duration if it is (hardly) ever negative, else a number: that is for its history to say."""

_COUNT, _RATIO, _DURATION = "count", "ratio", "duration"
_DEPLOYMENTS: Final = "deployment_frequency"

_KINDS: Final = (
    (r"rows", Kind(_COUNT, volume=True)),
    (r"rows\.failure", Kind(_COUNT, harm="rise")),
    (r"rows\..+", Kind(_COUNT, volume=True)),
    (r"distinct\..+", Kind(_COUNT, "rows")),
    (r"duplicate_ratio", Kind(_RATIO, "rows", harm="rise")),
    (r"null_ratio\..+", Kind(_RATIO, "rows", harm="rise")),
    (r"top_share\..+", Kind(_RATIO, "rows")),
    (r"mean\..+", Kind(AMOUNT, "rows")),
    (r"freshness_seconds", Kind(_DURATION, harm="rise", ages=86_400.0)),
    (_DEPLOYMENTS, Kind(_COUNT, volume=True)),
    (r"changes_shipped", Kind(_COUNT, volume=True)),
    (r"failed_deployments_.+", Kind(_COUNT, harm="rise")),
    (r"change_lead_time_.+_seconds", Kind(_DURATION, "changes_shipped")),
    (r"failed_deployment_recovery_time_.+_seconds", Kind(_DURATION, "failed_deployments_revert_ever")),
    (r"change_fail_rate_.+", Kind(_RATIO, _DEPLOYMENTS)),
    (r"deployment_rework_rate", Kind(_RATIO, _DEPLOYMENTS)),
)

JUDGED: Final = "^(" + "|".join(pattern for pattern, _ in _KINDS) + ")$"
"""The names of all measures that are judged, as a regular expression; the server takes it too."""

_PATTERNS: Final = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in _KINDS)


@lru_cache(maxsize=4096)  # asked for with each statement of a measure
def kind(measure: str) -> Kind | None:
    """What kind of number it is; None: it is not judged."""
    return next((kind for pattern, kind in _PATTERNS if pattern.fullmatch(measure)), None)


def counts_zero(measure: str) -> bool:
    """Whether it is 0 where a window has `rows` and does not tell it: there were no rows of that kind."""
    return measure.startswith("rows.")

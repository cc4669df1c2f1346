"""Numbers of measures as a person reads them: each with the unit of its nature. Pure."""

import math
from dataclasses import dataclass
from typing import Final

SECONDS: Final = "_seconds"
"""How the names of measures end that are spans of time."""
COUNT: Final = "count"
RATIO: Final = "ratio"
_NOUNS: Final = {
    "rows": ("row", "rows"),
    "duplicate_ratio": ("duplicates", "duplicates"),
    "deployment_frequency": ("deployment", "deployments"),
    "changes_shipped": ("change shipped", "changes shipped"),
    "failed_deployments_revert_ever": ("failed deployment", "failed deployments"),
}
_OF_FIELDS: Final = {
    "rows": ("row of {0}", "rows of {0}"),
    "distinct": ("different value of {0}", "different values of {0}"),
    "null_ratio": ("without {0}", "without {0}"),
    "top_share": ("with the commonest {0}", "with the commonest {0}"),
}
_ROUND: Final = 10
"""From here on an expected count has no decimals."""
_WRITTEN_OUT: Final = 1000
"""From here on a number is written without decimals."""
_LONGEST: Final = 1e15
"""From here on a number is written with an exponent."""


@dataclass(frozen=True, slots=True)
class Unit:
    """How the numbers of one measure are written."""

    measure: str
    nature: str
    """See `panel.Nature`."""

    @property
    def field(self) -> str:
        """The path that the measure is of; empty where it is of the rows as such."""
        return self.measure.partition(".")[2]

    @property
    def kind(self) -> str:
        """The name of the measure without the path."""
        return self.measure.partition(".")[0]

    @property
    def is_time(self) -> bool:
        """Whether it is a span of time, in seconds."""
        return self.measure.endswith(SECONDS)

    @property
    def noun(self) -> tuple[str, str]:
        """What it counts, of one and of many; empty where only its name says it."""
        forms = _OF_FIELDS.get(self.kind) if self.field else _NOUNS.get(self.measure)
        return (forms[0].format(self.field), forms[1].format(self.field)) if forms else ("", "")

    def bare(self, value: float) -> str:
        """`value` without what it counts: "12", "14 %", "2 h 5 min"."""
        if self.nature == RATIO:
            return f"{_number(100 * value)} %"
        if self.nature == COUNT:
            return _number(round(value, 0 if abs(value) >= _ROUND else 1))
        return lasting(value) if self.is_time else _number(value)

    def full(self, value: float) -> str:
        """`value` with what it counts: "12 rows", "14 % without author", "freshness 2 h 5 min"."""
        one, many = self.noun
        if many:
            return f"{self.bare(value)} {one if value == 1 and self.nature == COUNT else many}"
        return f"{self.name} {self.bare(value)}"

    @property
    def name(self) -> str:
        """The measure, without a unit that its numbers have: "freshness", "mean lead of ..."."""
        return self.measure.removesuffix(SECONDS).replace("_", " ") if self.is_time else self.measure

    def span(self, low: float, high: float) -> str:
        """The range in which nothing is strange: "31 to 58 rows"."""
        many = self.noun[1]
        text = self.bare_span(low, high)
        if text == self.bare(high):
            return self.full(high)
        return f"{text} {many}" if many else f"{self.name} {text}"

    def bare_span(self, low: float, high: float) -> str:
        """`span` without what it counts: "31 to 58"."""
        if self.nature == COUNT and math.ceil(low) <= math.floor(high):
            low, high = math.ceil(low), math.floor(high)
        least, most = self.bare(low), self.bare(high)
        return most if least == most else f"{least} to {most}"


def lasting(seconds: float) -> str:
    """A span of time in its two largest units: "3 d 4 h", "12 min", "40 s"; "-" before one that is negative."""
    sign, whole = ("-" if seconds < 0 else ""), abs(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{sign}{_number(whole)} s"
    if whole >= _LONGEST:
        return f"{sign}{whole:.3g} s"
    minutes = round(whole / 60)
    days, hours, minutes = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = ((days, "d"), (hours, "h")) if days else ((hours, "h"), (minutes, "min"))
    return sign + " ".join(f"{count:,} {unit}" for count, unit in parts if count)


def _number(value: float) -> str:
    size = abs(value)
    if size >= _LONGEST or 0 < size < 1e-4:  # noqa: PLR2004 - nothing but noughts
        return f"{value:.2e}"
    if float(value).is_integer() or size >= _WRITTEN_OUT:
        return f"{value:,.0f}"
    return f"{value:.3g}"

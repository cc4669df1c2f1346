"""What is declared of the detector: its budget of false alarms, what it judges and may hold back, and the calendar."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.alerts import has_holidays
from config.section import Section

Datasets = Annotated[str, Field(min_length=1)]
"""A dataset's name, or the start of names and a star: `silver.*`."""


def fits(pattern: str, name: str) -> bool:
    """Whether `pattern`, a name or the start of names and a star, is of `name`."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


class Judging(Section):
    """How the datasets of a name are judged."""

    dataset: Datasets
    block_on_anomaly: bool = False
    """An anomaly in it holds back Gold's days that are made from it, or that it is."""
    judge: bool = True
    """False: it is observed, and not judged."""


class Event(Section):
    """Something that is known in advance, or was, to change the numbers."""

    name: Annotated[str, Field(min_length=1)]
    start: date
    end: date | None = None
    """The last day; absent: one day only."""
    kind: Literal["break", "change"] = "break"
    """break: its days are like holidays; change: from `start` on another level is normal."""
    datasets: tuple[Datasets, ...] = ()
    """Empty: all."""
    scopes: tuple[str, ...] = ()
    """Names, or starts of names and a star; empty: all."""

    @model_validator(mode="after")
    def _ends_after_it_began(self) -> "Event":
        if self.end is not None and self.kind == "change":
            raise ValueError("end: a change has none; the way back is an event of its own")
        if self.end is not None and self.end < self.start:
            raise ValueError(f"end: {self.end} is before its start, {self.start}")
        return self

    def is_of(self, dataset: str, scope: str) -> bool:
        """Whether it concerns this dataset and scope."""
        return _any_fits(self.datasets, dataset) and _any_fits(self.scopes, scope)


class Detector(Section):
    """The detector of anomalies."""

    enabled: bool = True
    false_alarms_per_series_per_quarter: Annotated[float, Field(gt=0, lt=90)] = 1.0
    """How many false alarms are accepted of each dataset and scope in 90 windows."""
    learn_shift_after: Annotated[int, Field(ge=1, le=365)] = 21
    """Windows after which a level that stays is the new normal."""
    history_days: Annotated[int, Field(ge=28, le=3650)] = 280
    """How many days before the judged window are looked at: the half year that a forest learns from, and before that
    what the longest memory of a level goes back to. Longer ones hardly change a verdict, and cost time."""
    judge_days: Annotated[int, Field(ge=1, le=365)] = 35
    """Windows that are older when they come in are not judged: a backfill is never fresh."""
    country: str | None = None
    """Whose public holidays are known, e.g. "GB"."""
    subdivision: str | None = None
    """The part of the country, e.g. "ENG"."""
    seed: int = 0
    datasets: tuple[Judging, ...] = ()
    events: tuple[Event, ...] = ()

    @model_validator(mode="after")
    def _has_a_calendar(self) -> "Detector":
        if self.subdivision is not None and self.country is None:
            raise ValueError("subdivision: of which country? Give `country` too")
        if self.country is not None:
            has_holidays("-".join(part for part in (self.country, self.subdivision) if part))
        return self

    @model_validator(mode="after")
    def _lines_are_of_their_own(self) -> "Detector":
        names = [line.dataset for line in self.datasets]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"datasets: two lines are of {min(twice)!r}; which of them counts?")
        return self

    def of(self, dataset: str) -> Judging:
        """What is declared of `dataset`: the most specific line that fits, a whole name before any start of one."""
        lines = [line for line in self.datasets if fits(line.dataset, dataset)]
        return max(
            lines, key=lambda line: (not line.dataset.endswith("*"), len(line.dataset)), default=Judging(dataset="*")
        )


def _any_fits(patterns: tuple[str, ...], name: str) -> bool:
    return not patterns or any(fits(pattern, name) for pattern in patterns)

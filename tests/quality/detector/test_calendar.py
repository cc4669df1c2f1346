"""What is known of days in advance."""

from datetime import UTC, date, datetime, timedelta

import pytest

from config.detector import Detector, Event
from quality.detector import calendar
from quality.detector.panel import Change
from quality.detector.said import Said, Says

YEAR = (date(2025, 12, 1), date(2026, 12, 31))
SAID = Said(
    Says.NORMAL,
    "silver.changes",
    "acme/api",
    date(2026, 5, 1),
    None,
    ("rows",),
    "ann",
    datetime(2026, 5, 2, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("country", "subdivision", "day", "is_holiday"),
    [
        ("GB", "ENG", date(2025, 12, 25), True),
        ("GB", "ENG", date(2026, 12, 28), True),  # Boxing Day is a Saturday: the Monday instead
        ("GB", "ENG", date(2026, 12, 31), False),  # the range is half open, and it is none
        ("GB", "SCT", date(2026, 1, 2), True),
        ("GB", "ENG", date(2026, 1, 2), False),
        ("GB", "ENG", date(2025, 12, 23), False),
        ("GB", "ENG", date(2025, 12, 24), True),  # an eve
        ("GB", "ENG", date(2025, 12, 30), True),  # between two holidays that are near each other
        ("GB", "ENG", date(2026, 4, 7), False),  # the day after Easter Monday
        ("GB", "ENG", date(2026, 4, 20), False),  # between holidays that are far apart
        (None, None, date(2025, 12, 25), False),
    ],
)
def test_public_holidays(country: str | None, subdivision: str | None, day: date, *, is_holiday: bool) -> None:
    known = calendar.holidays(Detector(country=country, subdivision=subdivision), "silver.changes", "acme/api", YEAR)
    assert (day in known) is is_holiday
    assert all(YEAR[0] <= day < YEAR[1] for day in known)


def test_an_announced_break_is_of_whom_it_concerns_and_has_both_its_ends() -> None:
    freeze = Event(name="freeze", start=date(2025, 12, 20), end=date(2026, 1, 2), scopes=("acme/*",))
    detector = Detector(events=(freeze, Event(name="one day", start=date(2026, 7, 1))))
    known = calendar.holidays(detector, "silver.changes", "acme/api", YEAR)
    assert len(known) == 15
    assert {date(2025, 12, 20), date(2026, 1, 2), date(2026, 7, 1)} <= known
    assert calendar.holidays(detector, "silver.changes", "other", YEAR) == {date(2026, 7, 1)}


def test_changes_are_what_is_announced_and_what_was_said() -> None:
    move = Event(name="move", start=date(2026, 6, 1), kind="change", datasets=("silver.*",))
    detector = Detector(events=(move, Event(name="freeze", start=date(2026, 1, 1))))
    told = calendar.changes(detector, "silver.changes", "acme/api", [SAID])
    assert told == (Change(date(2026, 5, 1), frozenset({"rows"})), Change(date(2026, 6, 1)))
    assert calendar.changes(detector, "gold.dora_daily", "acme/api", []) == ()


def test_nothing_but_a_new_normal_is_a_change() -> None:
    told = [
        Said(says, "d", "s", date(2026, 5, 1), date(2026, 5, 1) + timedelta(days=1), (), "ann", SAID.at)
        for says in Says
    ]
    assert len(calendar.changes(Detector(), "d", "s", told)) == 1

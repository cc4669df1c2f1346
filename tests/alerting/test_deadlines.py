"""Deadlines: when a window must be complete, by the wall clocks of real zones."""

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerting import deadlines
from bench import silence
from config.schema import DAY
from config.settings import Schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def schedule(cron: str = "0 7 * * *", timezone: str = "UTC", **more: Any) -> Schedule:
    return Schedule(dataset="gold.dora_daily", cron=cron, timezone=timezone, **more)


def days(*texts: str) -> list[date]:
    return [date.fromisoformat(text) for text in texts]


@pytest.mark.parametrize(
    ("cron", "zone", "grace", "now", "window"),
    [
        ("0 7 * * *", "UTC", 0, "2026-03-10T06:59:59", "2026-03-08"),  # yesterday is not due yet
        ("0 7 * * *", "UTC", 0, "2026-03-10T07:00:00", "2026-03-09"),  # to the second
        ("0 7 * * *", "UTC", 30, "2026-03-10T07:29:59", "2026-03-08"),  # the grace belongs to it
        ("0 7 * * *", "UTC", 30, "2026-03-10T07:30:00", "2026-03-09"),
        ("0 0 * * *", "UTC", 0, "2026-03-10T00:00:00", "2026-03-09"),  # a window has ended when the next begins
        ("0 7 * * *", "Europe/Berlin", 0, "2026-03-10T06:00:00", "2026-03-09"),  # winter: UTC+1
        ("0 7 * * *", "Europe/Berlin", 0, "2026-07-10T05:00:00", "2026-07-09"),  # summer: UTC+2
        ("30 2 * * *", "Europe/Berlin", 0, "2026-03-29T00:59:59", "2026-03-27"),  # 02:30 is skipped
        ("30 2 * * *", "Europe/Berlin", 0, "2026-03-29T01:00:00", "2026-03-28"),  # and happens at 03:00
        ("30 2 * * *", "Europe/Berlin", 0, "2026-10-25T00:29:59", "2026-10-23"),  # 02:30 comes twice
        ("30 2 * * *", "Europe/Berlin", 0, "2026-10-25T00:30:00", "2026-10-24"),  # the first one counts
        ("0 1 * * *", "Asia/Kolkata", 0, "2026-03-10T19:30:00", "2026-03-09"),  # 01:00 there is the UTC day before
        ("0 1 * * *", "Asia/Kolkata", 0, "2026-03-10T19:29:59", "2026-03-08"),
        ("0 18 * * 5", "America/New_York", 0, "2026-03-16T12:00:00", "2026-03-12"),  # Friday there, until Thursday
        ("0 7 1 * *", "UTC", 0, "2026-03-31T00:00:00", "2026-02-28"),  # once a month
        ("0 7 1 1 *", "UTC", 0, "2026-12-31T00:00:00", "2025-12-31"),  # once a year
        ("0 7 * * *", "UTC", 10_080, "2026-03-10T07:00:00", "2026-03-02"),  # a week of grace
    ],
)
def test_the_newest_window_that_is_due(cron: str, zone: str, grace: float, now: str, window: str) -> None:
    due = deadlines.expected(schedule(cron, zone, grace_minutes=grace), at(now))
    assert due == date.fromisoformat(window)


def test_a_skipped_day_has_no_deadline() -> None:
    """Samoa had no 30 December 2011: what was to be done that day falls away, and is not asked for at midnight."""
    apia = schedule("0 7 * * *", "Pacific/Apia")
    assert deadlines.next_deadline(apia, at("2011-12-29T17:00")) == at("2011-12-30T17:00")
    assert deadlines.deadline(apia, date(2011, 12, 28)) == at("2011-12-29T17:00")
    assert deadlines.deadline(apia, date(2011, 12, 29)) == at("2011-12-30T17:00")


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Pacific/Apia", "2011-12-20"), ("Australia/Lord_Howe", "2026-03-28"), ("Australia/Lord_Howe", "2026-09-28"),
        ("Europe/Berlin", "2026-03-24"), ("Europe/Berlin", "2026-10-20"), ("Asia/Beirut", "2026-03-24"),
        ("Africa/Casablanca", "2026-02-10"), ("America/Sao_Paulo", "2018-10-30"), ("Antarctica/Troll", "2026-03-25"),
        ("Asia/Gaza", "2026-10-20"), ("America/Havana", "2026-03-03"), ("Asia/Jerusalem", "2026-03-20"),
    ],
)  # fmt: skip
def test_around_a_change_of_clocks_every_moment_is_one_that_was_lived_through(zone: str, first: str) -> None:
    """Each cron at each change: the moments are those found by going through the days minute by minute."""
    start = at(first)
    crons = ("*/15 * * * *", "0 * * * *", "0,30 0-3 * * *", "15 */2 * * *", "30 2 * * *", "0 0 * * *", "45 23 * * SUN")
    for cron in crons:
        made = schedule(cron, zone)
        found = [one for n in range(16) for one in deadlines._moments(made, (start + DAY * n).date())]
        assert found == list(silence.moments(made, start, start + 16 * DAY, frozenset())), cron


def test_days_off_have_no_deadline_and_their_windows_are_due_after_them() -> None:
    """Good Friday to Easter Monday 2026 in Germany; a further day is named."""
    made = schedule("0 9 * * 1-5", "Europe/Berlin", holidays="DE", except_on=days("2026-04-07"))
    assert deadlines.deadline(made, date(2026, 4, 1)) == at("2026-04-02T07:00")
    assert deadlines.deadline(made, date(2026, 4, 2)) == at("2026-04-08T07:00")
    assert deadlines.missing(made, set(), date(2026, 4, 1), at("2026-04-08T06:59")) == days("2026-04-01")
    assert len(deadlines.missing(made, set(), date(2026, 4, 1), at("2026-04-08T07:00"))) == 7


def test_a_day_off_is_one_of_the_zone() -> None:
    """At 20:00 UTC on 24 December it is Christmas in Auckland."""
    made = schedule("0 9 * * *", "Pacific/Auckland", holidays="NZ")
    assert deadlines.deadline(made, date(2025, 12, 23)) > at("2025-12-25T20:00")
    assert deadlines.deadline(schedule("0 9 * * *", "Pacific/Auckland"), date(2025, 12, 23)) == at("2025-12-24T20:00")


@pytest.mark.parametrize(
    ("complete", "first", "now", "owed"),
    [
        ([], None, "2026-03-10T07:00", ["2026-03-09"]),  # it never had any: the newest one
        ([], "2026-03-08", "2026-03-10T07:00", ["2026-03-08", "2026-03-09"]),
        (["2026-03-09"], "2026-03-08", "2026-03-10T07:00", ["2026-03-08"]),  # a later one says nothing of it
        (["2026-03-08", "2026-03-09"], "2026-03-08", "2026-03-10T07:00", []),
        ([], "2026-03-10", "2026-03-10T07:00", []),  # it begins later
        (["2020-01-01"], "2026-03-09", "2026-03-10T07:00", ["2026-03-09"]),
    ],
)
def test_what_is_owed(complete: list[str], first: str | None, now: str, owed: list[str]) -> None:
    since = date.fromisoformat(first) if first else None
    assert deadlines.missing(schedule(), set(days(*complete)), since, at(now)) == days(*owed)


def test_looks_back_35_days_at_most() -> None:
    owed = deadlines.missing(schedule(), set(), date(2020, 1, 1), at("2026-03-10T07:00"))
    assert (owed[0], owed[-1], len(owed)) == (date(2026, 2, 3), date(2026, 3, 9), 35)


def test_a_schedule_that_never_comes_is_never_due() -> None:
    christmas = schedule("0 7 25 12 *", "Europe/Berlin", holidays="DE")
    assert deadlines.expected(christmas, at("2026-12-31T00:00")) is None
    assert deadlines.next_deadline(christmas, at("2026-12-31T00:00")) == deadlines.NEVER
    assert deadlines.deadline(christmas, date(2026, 1, 1)) == deadlines.NEVER
    assert deadlines.missing(christmas, set(), date(2020, 1, 1), at("2026-12-31T00:00")) == []


def test_the_next_deadline_is_later_than_the_moment() -> None:
    made = schedule("0 7 29 2 *", grace_minutes=5)
    assert deadlines.next_deadline(made, at("2026-03-01T00:00")) == at("2028-02-29T07:05")
    assert deadlines.next_deadline(made, at("2028-02-29T07:04:59")) == at("2028-02-29T07:05")
    assert deadlines.next_deadline(made, at("2028-02-29T07:05")) == at("2032-02-29T07:05")


@pytest.mark.parametrize(
    ("wall", "zone", "moment"),
    [
        ("2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:00"),  # skipped: when the clocks jump
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30"),  # twice: the first
        ("2026-10-04T02:10", "Australia/Lord_Howe", "2026-10-03T15:30"),  # half an hour is skipped
        ("2011-12-30T12:00", "Pacific/Apia", "2011-12-30T10:00"),  # a day
        ("2026-07-01T09:00", "Asia/Kathmandu", "2026-07-01T03:15"),
    ],
)
def test_the_moment_that_a_wall_clock_means(wall: str, zone: str, moment: str) -> None:
    assert deadlines.instant(datetime.fromisoformat(wall), ZoneInfo(zone)) == at(moment)


ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC")
CRONS = (("0 7 * * 1-5", 0), ("30 2 * * *", 17), ("30 */6 * * *", 240), ("0 8 1,15 * MON", 2000))
HOLIDAYS = frozenset(days("2025-01-01", "2025-04-18", "2025-04-21", "2025-05-01", "2025-12-25", "2025-12-26"))


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_of_deadlines_misses_none_and_invents_none(zone: str) -> None:
    """Windows that are completed in time, late or never, looked at around every deadline and completion.

    What should be found comes from a count of its own, minute by minute, which shares no code with the deadlines.
    """
    total = silence.Figures()
    for (cron, grace), off in zip(CRONS, itertools.cycle([HOLIDAYS, frozenset[date]()]), strict=False):
        made = schedule(cron, zone, grace_minutes=grace, except_on=tuple(sorted(off)))
        total.add(silence.simulate(made, off, datetime(2025, 1, 1, tzinfo=UTC)))
    assert total.due > 1400
    assert total.missed > 400
    assert total.unseen == []
    assert total.false == []


def test_a_hundred_schedules_are_looked_at_within_a_second() -> None:
    """The notifier does so once a second; here ten times the load."""
    made = [schedule(f"{n % 60} {n % 24} * * *", ZONES[n % 5], grace_minutes=n) for n in range(100)]
    now = at("2026-03-10T12:00")
    for one in made:
        deadlines.expected(one, now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deadlines, "CronSim", None)  # the moments of the day are remembered
        for second in range(10):
            assert all(deadlines.expected(one, now + timedelta(seconds=second)) for one in made)

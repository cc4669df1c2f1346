"""No failure in silence: deadlines against an independent count, minute by minute, of when each must have been met.

The count reads cron expressions and time zones by itself, so that a mistake must be made twice to stay unseen. Windows
are completed in time, late, or never, at random; the deadlines found missed are compared with those that were.

Usage: python -m bench.silence [--years N] [--seed N]
"""

import argparse
import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from alerting import deadlines
from config.settings import Schedule

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LOOK_BACK_DAYS = 35
LOOKS = 300
"""At moments of no interest, for each schedule."""

ZONES = (
    "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC", "Pacific/Apia", "Asia/Kathmandu",
    "America/St_Johns", "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Chatham", "America/Havana", "Asia/Beirut",
)  # fmt: skip
CRONS = (
    "0 7 * * *", "30 2 * * *", "15 0 * * *", "0 9 * * 1-5", "45 23 * * *", "0 */6 * * *", "30 1,2,3 * * *", "0 7 1 * *",
    "*/30 1-3 * * *", "0 8 1,15 * MON", "59 1 * * 0", "5 2 * 3,10,11 *", "0 0 * * *", "20 * * * 7",
)  # fmt: skip
HOLIDAYS = ("2025-01-01", "2025-04-18", "2025-04-21", "2025-05-01", "2025-12-25", "2025-12-26")


@dataclass
class Figures:
    """What a simulation found."""

    due: int = 0
    """Deadlines of windows that there were."""
    missed: int = 0
    """Of these, how many windows were not complete in time."""
    unseen: list[str] = field(default_factory=list)
    """Missed, and not found missing."""
    false: list[str] = field(default_factory=list)
    """Found missing though they were complete, or not due yet."""
    looks: int = 0

    def add(self, other: "Figures") -> None:
        """Count what another one found too."""
        self.due += other.due
        self.missed += other.missed
        self.looks += other.looks
        self.unseen += other.unseen
        self.false += other.false


def values(text: str, low: int, high: int, names: Sequence[str] = ()) -> set[int]:
    """The numbers that one field of a cron expression stands for."""
    found: set[int] = set()
    for part in text.upper().split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = names.index(first) if first in names else int(first)
            end = (names.index(last) if last in names else int(last)) if last else (high if step else start)
        found |= set(range(start, end + 1, int(step or 1)))
    return found


@lru_cache(maxsize=64)
def walls(zone: str, start: datetime, end: datetime) -> list[datetime]:
    """What the clocks of `zone` show at each minute of [start, end), naive."""
    there, minutes = ZoneInfo(zone), int((end - start) / MINUTE)
    return [(start + MINUTE * n).astimezone(there).replace(tzinfo=None) for n in range(minutes)]


def moments(schedule: Schedule, start: datetime, end: datetime, off: frozenset[date]) -> Iterator[datetime]:
    """Every minute of [start, end) at which Debian's cron would start the job, found by living through all of them."""
    fields = schedule.cron.split()
    minutes, hours = values(fields[0], 0, 59), values(fields[1], 0, 23)
    days, months = values(fields[2], 1, 31), values(fields[3], 1, 12)
    weekdays = {day % 7 for day in values(fields[4], 0, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
    both = fields[2].startswith("*") or fields[4].startswith("*")
    recurring = fields[0].startswith("*") or fields[1].startswith("*")

    def names(wall: datetime) -> bool:
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        by_day, by_weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        return (by_day and by_weekday) if both else (by_day or by_weekday)

    seen = walls(schedule.timezone, start, end)[0] - MINUTE
    for number, wall in enumerate(walls(schedule.timezone, start, end)):
        jump = wall - seen
        fires = names(wall) and (recurring or jump > timedelta(0))
        if not recurring and MINUTE < jump <= timedelta(hours=3):
            fires = fires or any(names(seen + MINUTE * n) for n in range(1, int(jump / MINUTE)))
        seen = wall if recurring else max(wall, seen)
        if fires and wall.date() not in off:
            yield start + MINUTE * number


def truth(schedule: Schedule, start: datetime, end: datetime, off: frozenset[date]) -> dict[date, datetime]:
    """By when each window that ends in [start, end) must be complete."""
    found: dict[date, datetime] = {}
    window = start.date()
    for moment in moments(schedule, start, end, off):
        while datetime(window.year, window.month, window.day, tzinfo=UTC) + DAY <= moment:
            found[window] = moment + timedelta(minutes=schedule.grace_minutes)
            window += DAY
    return found


def simulate(schedule: Schedule, off: frozenset[date], start: datetime, years: float = 1, *, seed: int = 0) -> Figures:
    """Live through the years from `start`: complete each window at some time or never, and look at many moments."""
    chance = random.Random(f"{schedule}{seed}")  # noqa: S311 - not for secrets
    end = start + timedelta(days=int(365 * years))
    due = truth(schedule, start, end + timedelta(days=60), off)
    done: dict[date, datetime] = {}
    for window, by in due.items():
        over = datetime(window.year, window.month, window.day, tzinfo=UTC) + DAY
        match chance.randrange(5):
            case 0:
                done[window] = by + timedelta(seconds=chance.choice([1, 600, 90_000]))
            case 1:
                pass
            case _:
                done[window] = over + (by - over) * chance.random()
    figures = Figures(
        due=sum(by < end for by in due.values()),
        missed=sum(by < end and done.get(window, deadlines.NEVER) > by for window, by in due.items()),
    )
    at = {by + timedelta(seconds=n) for by in due.values() for n in (-1, 0, 5)}
    at |= {when + timedelta(seconds=n) for when in done.values() for n in (0, 1)}
    at |= {start + (end - start) * chance.random() for _ in range(LOOKS)}
    for now in sorted(one for one in at if start + 40 * DAY <= one < end):
        figures.looks += 1
        _look(schedule, due, done, now, figures)
    return figures


def _look(
    schedule: Schedule, due: Mapping[date, datetime], done: Mapping[date, datetime], now: datetime, figures: Figures
) -> None:
    passed = [window for window, by in due.items() if by <= now][-LOOK_BACK_DAYS:]
    complete = {window for window, when in done.items() if when <= now}
    wanted = {window for window in passed if window not in complete}
    first = min(due)
    found = set(deadlines.missing(schedule, complete, first, now))
    told = f"{schedule.cron} {schedule.timezone} at {now}"
    figures.unseen += [f"{told}: {window}" for window in sorted(wanted - found)]
    figures.false += [f"{told}: {window}" for window in sorted(found - wanted)]
    figures.false += [
        f"{told}: {window} by {deadlines.deadline(schedule, window)}, not {due[window]}"
        for window in found & wanted
        if deadlines.deadline(schedule, window) != due[window]
    ]
    following = min((by for by in due.values() if by > now), default=None)
    if following is not None and deadlines.next_deadline(schedule, now) > following:
        figures.unseen.append(f"{told}: the next deadline is {following}")


def main() -> None:
    """All crons in all zones, with and without days off and grace."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--years", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    began, total = time.monotonic(), Figures()
    start = datetime(2024, 1, 1, tzinfo=UTC)
    off = frozenset(date.fromisoformat(day) for day in HOLIDAYS)
    for number, (zone, cron) in enumerate(itertools.product(ZONES, CRONS)):
        grace = (0, 17, 240, 2000)[number % 4]
        free = off if number % 2 else frozenset[date]()
        schedule = Schedule(
            dataset="gold.dora_daily", cron=cron, timezone=zone, grace_minutes=grace, except_on=tuple(sorted(free))
        )
        total.add(simulate(schedule, free, start, asked.years, seed=asked.seed))
    print(f"{len(ZONES) * len(CRONS)} schedules, {asked.years:g} years, {total.looks:,} looks")
    print(f"{total.due:,} deadlines, {total.missed:,} of them missed")
    print(f"{len(total.unseen)} not found, {len(total.false)} false; {time.monotonic() - began:.0f} s")
    for line in [*total.unseen, *total.false][:20]:
        print(f"  {line}")


if __name__ == "__main__":
    main()

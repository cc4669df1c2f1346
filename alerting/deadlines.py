"""By when the windows of a dataset must be complete. Pure.

A schedule names moments by a cron expression in a time zone; at each of them every window (a UTC day) that has ended
must be complete, and a grace later that is looked at. Wall clocks jump, and cron's own rule is kept, as Debian's cron
has it: what names an hour happens once, at the first moment that is no earlier by the wall clock; what happens every
hour or every few minutes happens whenever the wall clock shows its time. A day that the zone skipped (Samoa, 30
December 2011) has no moments.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from config.schema import DAY, start_of
from config.settings import Schedule

if TYPE_CHECKING:
    from holidays import HolidayBase

LOOK_BACK: Final = timedelta(days=35)
"""How far back from the newest window that is due others are looked at."""
QUIET_FOR: Final = 400
"""Days without a moment of the schedule after which nothing is due any more: a yearly one must be found."""
NEVER: Final = datetime.max.replace(tzinfo=UTC)
SKIPPED: Final = timedelta(hours=3)
"""A gap that is longer is no change to summer time: what was to happen in it does not happen (as in Debian's cron)."""
_SECOND: Final = timedelta(seconds=1)


def expected(schedule: Schedule, now: datetime) -> date | None:
    """The newest window that must be complete by `now`; None if the last deadline is more than a year away."""
    moment = _last(schedule, now - _grace(schedule))
    return None if moment is None else moment.date() - DAY


def deadline(schedule: Schedule, window: date) -> datetime:
    """By when `window` must be complete; `NEVER` if there is no moment for it within ten years."""
    moment = _first(schedule, window + DAY)
    return moment if moment == NEVER else moment + _grace(schedule)


def next_deadline(schedule: Schedule, after: datetime) -> datetime:
    """The first deadline later than `after`; `NEVER` if there is none within ten years."""
    since = after.astimezone(UTC) - _grace(schedule)
    today = next((moment for moment in _moments(schedule, since.date()) if moment > since), None)
    moment = today or _first(schedule, since.date() + DAY)
    return moment if moment == NEVER else moment + _grace(schedule)


def missing(schedule: Schedule, complete: AbstractSet[date], first: date | None, now: datetime) -> list[date]:
    """The windows that must be complete by `now` and are not, oldest first.

    first: the first window that is asked for; None: only the newest one is. Looks back `LOOK_BACK` at most.
    """
    newest = expected(schedule, now)
    if newest is None:
        return []
    oldest = newest if first is None else max(first, newest - LOOK_BACK + DAY)
    days = (oldest + DAY * n for n in range((newest - oldest).days + 1))
    return [day for day in days if day not in complete]


def instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first moment (UTC) at which the clocks of `zone` show the naive `wall`; if they skip it, when they jump."""
    early, late = _readings(wall, zone)
    if early <= late:
        return early
    after = (wall - late.replace(tzinfo=None)).total_seconds()  # the offset to UTC behind the gap
    low, high = late, early
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        offset = middle.astimezone(zone).utcoffset()
        if offset is not None and offset.total_seconds() == after:
            high = middle
        else:
            low = middle
    return high.replace(microsecond=0)


def is_off(schedule: Schedule, day: date) -> bool:
    """Whether `day`, by the calendar of the schedule's zone, has no deadline."""
    return day in schedule.except_on or (schedule.holidays is not None and day in _calendar(schedule.holidays))


def _readings(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """What `wall` means by the offsets before and after a change nearby; the first is later where it is skipped."""
    return wall.replace(tzinfo=zone).astimezone(UTC), wall.replace(tzinfo=zone, fold=1).astimezone(UTC)


@lru_cache(maxsize=20_000)
def _moments(schedule: Schedule, day: date) -> tuple[datetime, ...]:
    """The moments of `schedule` within the UTC day `day`, in order, but for those on days off."""
    zone = ZoneInfo(schedule.timezone)
    start, end = start_of(day), start_of(day) + DAY
    walls = [at.astimezone(zone).replace(tzinfo=None) for at in (start, end)]
    before = (start - _SECOND).astimezone(zone).replace(tzinfo=None)
    lowest = min(walls[0], before, walls[1] - DAY)
    highest = max(walls[1], walls[0] + DAY, before + DAY)
    recurring = any(field.startswith("*") for field in schedule.cron.split()[:2])
    found = {
        moment
        for wall in takewhile(lambda wall: wall <= highest, CronSim(schedule.cron, lowest - _SECOND))
        for moment in _moments_of(wall, zone, recurring=recurring)
        if start <= moment < end
    }
    return tuple(sorted(one for one in found if not is_off(schedule, one.astimezone(zone).date())))


def _moments_of(wall: datetime, zone: ZoneInfo, *, recurring: bool) -> Iterator[datetime]:
    early, late = _readings(wall, zone)
    if early <= late:
        yield early
        if recurring:
            yield late
    elif not recurring and early - late <= SKIPPED:
        yield instant(wall, zone)


def _last(schedule: Schedule, at: datetime) -> datetime | None:
    """The last moment of `schedule` that is no later than `at`."""
    day = at.astimezone(UTC).date()
    today = next((moment for moment in reversed(_moments(schedule, day)) if moment <= at), None)
    return today or _before(schedule, day)


@lru_cache(maxsize=20_000)
def _before(schedule: Schedule, day: date) -> datetime | None:
    """The last moment of `schedule` before the UTC day `day`."""
    days = (day - DAY * n for n in range(1, QUIET_FOR))
    return next((moments[-1] for one in days if (moments := _moments(schedule, one))), None)


@lru_cache(maxsize=20_000)
def _first(schedule: Schedule, day: date) -> datetime:
    """The first moment of `schedule` on the UTC day `day` or after it, `NEVER` if there is none within ten years."""
    until = day + 3653 * DAY
    while day < until:
        if moments := _moments(schedule, day):
            return moments[0]
        wall = next(CronSim(schedule.cron, datetime.combine(day + DAY, time())), None)
        day = until if wall is None else max(day + DAY, wall.date() - DAY)
    return NEVER


def _grace(schedule: Schedule) -> timedelta:
    return timedelta(minutes=schedule.grace_minutes)


@lru_cache(maxsize=64)
def _calendar(place: str) -> "HolidayBase":
    """The public holidays of a country, or of a part of it; `config.settings` has seen that it is known."""
    import holidays  # noqa: PLC0415 - takes 0.15 s, and few schedules need it

    country, _, part = place.partition("-")
    return holidays.country_holidays(country, subdiv=part or None)

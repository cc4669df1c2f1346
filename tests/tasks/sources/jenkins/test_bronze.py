"""Jenkins through Bronze, day by day, on a real MongoDB: what each window is worth in the end."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from config import catalog, schema
from tasks import bronze
from tasks.context import Context
from tasks.sources.contract import Progress
from tests.harness import at
from tests.tasks.sources.jenkins.conftest import DAY, HOUR, SINCE, Place

BUILDS = catalog.bronze("jenkins", "builds")


def run(context: Context, place: Place, now: datetime, unit: str = "api", days: int = 1) -> str | None:
    """What a nightly run does: sweep, and answer for the last days."""
    first = (now - days * DAY).date()
    return bronze.sweep(at(context, now), place.source([unit]), unit, (first, now.date()), lambda: now)


def proofs(context: Context, origin: str = "api") -> dict[int, str]:
    """Day of October -> what it is worth."""
    windows = context.ledger.windows(BUILDS, origin, ("proof",))
    return {one["window"].day: one["proof"]["state"] for one in windows}


def stored(context: Context) -> list[dict[str, Any]]:
    return list(context.db[BUILDS].find(sort=[("updated_on", 1), ("_id", 1)]))


def test_each_day_ends_proven(context: Context, place: Place) -> None:
    """Also quiet ones, and those of which a later sweep sees only that nothing came."""
    schema.ensure(context.db)
    api = place.jenkins.job("api")
    for day in range(1, 8):
        night = SINCE + day * DAY
        if day not in (3, 4):
            api.run(night - 5 * HOUR)
        assert run(context, place, night + 2 * HOUR) is None
        assert run(context, place, night + 9 * HOUR) is None
    assert {day: proofs(context)[day] for day in range(1, 8)} == dict.fromkeys(range(1, 8), "proven")
    assert [one["id"] for one in stored(context)] == ["1", "2", "3", "4", "5"]


def test_days_of_a_failed_sweep_are_proven_by_the_next_one(context: Context, place: Place) -> None:
    schema.ensure(context.db)
    api = place.jenkins.job("api")
    for day in range(1, 4):
        api.run(SINCE + day * DAY - 5 * HOUR)
        run(context, place, SINCE + day * DAY + 2 * HOUR)
    place.server.inject("500_lasting", every=True)
    for day in (4, 5):
        api.run(SINCE + day * DAY - 5 * HOUR)
        run(context, place, SINCE + day * DAY + 2 * HOUR)
    assert [proofs(context)[day] for day in range(1, 6)] == ["proven"] * 3 + ["failed"] * 2
    place.server.heal()
    api.run(SINCE + 6 * DAY - 5 * HOUR)
    run(context, place, SINCE + 6 * DAY + 2 * HOUR)
    assert [proofs(context)[day] for day in range(1, 7)] == ["proven"] * 6
    assert [one["id"] for one in stored(context)] == [str(number) for number in range(1, 7)]


def test_a_day_in_which_builds_were_lost_stays_unproven(context: Context, place: Place) -> None:
    """And the one after it, as builds may run for a day. Whoever asks later, and however quiet it is since."""
    schema.ensure(context.db)
    api = place.jenkins.job("api")
    for hour in range(20):
        api.run(SINCE + 2 * DAY + hour * HOUR, result="FAILURE")
    api.discard(2)
    for day in (5, 6):
        run(context, place, SINCE + day * DAY + 2 * HOUR)
    run(context, place, SINCE + 7 * DAY + 2 * HOUR, days=7)
    assert proofs(context) | {8: ""} == {
        1: "unproven", 2: "unproven", 3: "unproven", 4: "unproven", 5: "proven", 6: "proven", 7: "proven", 8: "",
    }  # fmt: skip


def test_a_late_build_repairs_its_day_and_a_deleted_one_is_noted_today(context: Context, place: Place) -> None:
    schema.ensure(context.db)
    api = place.jenkins.job("api")
    number = api.start(SINCE + DAY)
    api.run(SINCE + DAY + HOUR)
    run(context, place, SINCE + 2 * DAY + 2 * HOUR)
    api.finish(number, 26 * 3600)
    del api.builds[2]
    api.run(SINCE + 2 * DAY + HOUR)
    now = SINCE + 3 * DAY + 4 * HOUR
    run(context, place, now)
    found = [(one["id"], one["updated_on"], one.get("deleted", False)) for one in stored(context)]
    assert found == [
        ("1", SINCE + DAY, False),
        ("2", SINCE + DAY + HOUR + timedelta(minutes=1), False),
        ("3", SINCE + 2 * DAY + HOUR + timedelta(minutes=1), False),
        ("1", SINCE + 2 * DAY + 2 * HOUR, False),
        ("2", now, True),
    ]
    assert proofs(context)[3] == "proven"


def test_an_interrupted_backfill_ends_in_the_same_bronze(context: Context, place: Place) -> None:
    """A worker dies after its third note: the next one fetches what is left, and all days are proven."""
    schema.ensure(context.db)
    api = place.jenkins.job("api")
    for number in range(2300):
        api.run(SINCE + number * timedelta(minutes=5))
    now = SINCE + 9 * DAY + 2 * HOUR

    class Killed(BaseException):
        pass

    class Dying:
        """The source, until the worker is killed."""

        name = "ci"

        def units(self) -> list[str]:
            return ["api"]

        def feeds(self, unit: str) -> Any:
            return place.source().feeds(unit)

        def sweep(self, unit: str, cursor: Any, now: datetime) -> Any:
            notes = 0
            for part in place.source().sweep(unit, cursor, now):
                yield part
                notes += isinstance(part, Progress)
                if notes == 3:
                    raise Killed

    with suppress(Killed):
        bronze.sweep(at(context, now), Dying(), "api", (SINCE.date(), now.date()), lambda: now)
    assert context.db[BUILDS].count_documents({}) == 1500
    place.asked()
    run(context, place, now, days=9)
    assert len(place.asked()) == 3 + 8, "three lists in brief, and the slices that were left"
    assert [one["id"] for one in stored(context)] == [str(number) for number in range(1, 2301)]
    assert set(proofs(context).values()) == {"proven"}
